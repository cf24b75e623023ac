"""What every subscriber made by `subscribe` has, whatever FastStream's defaults are."""

from collections.abc import Sequence

import pytest
from faststream.middlewares import AckPolicy

from farebox.kafka import Broker, Producer, Record, Rejected, Subscription, make_broker, subscribe
from farebox.kafka import broker as broker_module
from farebox.kafka import subscriber as subscriber_module


async def take(_: Sequence[Record]) -> Sequence[Rejected]:
    return []


@pytest.fixture
async def broker() -> Broker:
    return make_broker("127.0.0.1:1", client_id="test")


@pytest.fixture
async def subscription(broker: Broker) -> Subscription:
    return subscribe(
        broker, "a", "b", group_id="group", handle=take, producer=Producer("127.0.0.1:1", client_id="test")
    )


async def test_every_subscriber_commits_only_what_was_handled(broker: Broker, subscription: Subscription) -> None:
    assert [subscriber.ack_policy for subscriber in broker.subscribers] == [AckPolicy.NACK_ON_ERROR]
    assert subscription.subscriber._connection_args["enable_auto_commit"] is False


async def test_every_subscriber_begins_at_the_beginning(subscription: Subscription) -> None:
    assert subscription.subscriber._connection_args["auto_offset_reset"] == "earliest"


async def test_every_subscriber_has_its_group_and_drains_on_revoke(subscription: Subscription) -> None:
    assert subscription.subscriber.group_id == "group"
    assert subscription.subscriber._listener is subscription


async def test_no_subscriber_answers_a_reply_to_header(subscription: Subscription) -> None:
    assert subscription.subscriber._no_reply is True


async def test_no_subscriber_creates_topics(broker: Broker) -> None:
    assert broker.config.broker_config.allow_auto_create_topics is False


async def test_no_subscriber_decodes_values_in_the_client(subscription: Subscription) -> None:
    assert subscription.subscriber._connection_args.get("value_deserializer") is None
    assert subscription.subscriber._connection_args.get("key_deserializer") is None


def test_timeouts_nest() -> None:
    delivery = subscriber_module.DEFAULT_DELIVERY
    in_hand_s = delivery.handler_timeout_s + subscriber_module.DEAD_LETTER_TIMEOUT_S
    assert in_hand_s < subscriber_module.DRAIN_TIMEOUT_S < subscriber_module.REBALANCE_TIMEOUT_MS / 1000
    assert subscriber_module.REBALANCE_TIMEOUT_MS < broker_module.REQUEST_TIMEOUT_MS
    assert in_hand_s + delivery.retry.cap_s < subscriber_module.STALLED_AFTER_S
    assert subscriber_module.STALLED_AFTER_S < subscriber_module.MAX_POLL_INTERVAL_MS / 1000
