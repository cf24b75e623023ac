"""What budget's compacted topics keep when a stalled producer delivers an old record last."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest

from budget.published import Balances, PolicyNews, by_window
from budget.store import Store
from conftest import run_apart
from farebox import topics
from farebox.compacted import CompactedTopic, by_revision
from farebox.kafka import Message, Producer, Record
from farebox.outbox import OutboxRelay
from farebox_local.kafka import Kafka
from support.budget_service import BudgetService, won
from support.eventually import eventually
from support.records import everything


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of which no other test reads the topics."""
    broker = Kafka(tmp_path_factory.mktemp("broker"))
    broker.start()
    run_apart(topics.create(broker.bootstrap, replication=1))
    yield broker.bootstrap
    broker.stop()


@pytest.fixture
async def kept(service: BudgetService, own_broker: str) -> AsyncIterator[Producer]:
    """The service's outbox and its compacted topics, at work."""
    store = Store(service.pool)
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(Producer(own_broker, client_id="budget"))
        relay = await stack.enter_async_context(OutboxRelay(service.pool, producer, schema="budget"))
        for name, owner, order_of in (
            ("account.policy", PolicyNews(store, service.clock), by_revision),
            ("budget.balances", Balances(store, service.clock), by_window),
        ):
            topic = CompactedTopic(
                name,
                owner,
                order_of,
                pool=service.pool,
                bootstrap=own_broker,
                client_id="budget",
                wake=relay.wake,
            )
            await stack.enter_async_context(topic)
        yield producer


async def records_of(bootstrap: str, topic: str, key: str, count: int) -> list[Record]:
    """The records of a key, once there are this many."""

    async def found() -> list[Record]:
        records = [record for record in await everything(bootstrap, topic) if record.key == key.encode()]
        assert len(records) >= count
        return records

    return await eventually(found, within_s=40)


def again(record: Record) -> Message:
    return Message(record.topic, record.key, record.value, record.raw_headers)


def said(records: list[Record], *path: str) -> list[Any]:
    """A field of each event."""
    values = []
    for record in records:
        value = orjson.loads(record.value or b"")
        for name in path:
            value = value[name]
        values.append(value)
    return values


async def test_news_from_before_a_revocation_that_arrive_last_are_followed_by_the_revocation(
    service: BudgetService, kept: Producer, own_broker: str
) -> None:
    await service.org()
    key_id = (await service.key())["key_id"]
    await service.admin.patch(f"/api/accounts/{key_id}", json={"name": "Laptop"})
    await service.admin.delete(f"/api/keys/{key_id}")
    active, _ = await records_of(own_broker, "account.policy", key_id, 2)
    await kept.send([again(active)], 20.0)
    records = await records_of(own_broker, "account.policy", key_id, 4)
    assert said(records, "status") == ["active", "revoked", "active", "revoked"]
    assert said(records, "revision") == [2, 3, 2, 3]


async def test_a_later_change_of_a_revoked_key_says_that_it_is_revoked(service: BudgetService) -> None:
    await service.org()
    key_id = (await service.key())["key_id"]
    await service.admin.delete(f"/api/keys/{key_id}")
    await service.admin.patch(f"/api/accounts/{key_id}", json={"name": "Laptop"})
    news = [event for _, event in await service.told("account.policy") if event["account_id"] == key_id]
    assert [each["status"] for each in news] == ["revoked", "revoked"]


async def test_an_old_balance_that_arrives_last_is_followed_by_the_newest(
    service: BudgetService, kept: Producer, own_broker: str
) -> None:
    await service.org()
    budget = str(await service.budget("100"))
    key = await service.key()
    await service.post(service.priced(key, won("1")))
    [first] = await records_of(own_broker, "budget.balances", budget, 1)
    await service.post(service.priced(key, won("2")))
    await records_of(own_broker, "budget.balances", budget, 2)
    await kept.send([again(first)], 20.0)
    records = await records_of(own_broker, "budget.balances", budget, 4)
    assert said(records, "budget", "spent") == [won("1"), won("3"), won("1"), won("3")]


async def test_revisions_of_an_account_grow_however_many_change_it_at_once(service: BudgetService) -> None:
    await service.org()
    await asyncio.gather(*(service.budget(str(100 + number), "minh") for number in range(8)))
    news = [event for _, event in await service.told("account.policy") if event["account_id"] == "minh"]
    assert [each["revision"] for each in news] == list(range(2, 10))


async def test_somebody_elses_record_stops_no_repair(service: BudgetService, kept: Producer, own_broker: str) -> None:
    await service.org()
    key_id = (await service.key())["key_id"]
    strange = [Message(topic, b"?", value) for topic in ("account.policy", "budget.balances") for value in (b"2", b"{")]
    await service.admin.patch(f"/api/accounts/{key_id}", json={"name": "Laptop"})
    [active] = await records_of(own_broker, "account.policy", key_id, 1)
    await service.admin.delete(f"/api/keys/{key_id}")
    await records_of(own_broker, "account.policy", key_id, 2)
    await kept.send([*strange, again(active)], 20.0)
    records = await records_of(own_broker, "account.policy", key_id, 4)
    assert said(records, "status")[-1] == "revoked"
