"""A gateway whose prices are too old for its clock, whichever of the two is wrong, refuses instead of guessing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import run_apart
from farebox import topics
from farebox.events import CatalogueAsOf, Envelope
from farebox.ids import new_id
from farebox.kafka import Message, Producer
from farebox_local.kafka import Kafka
from support.eventually import eventually
from support.fake_budget import FakeBudget
from support.gateway import GatewayProcess, chat

DAY = timedelta(days=1)
SOFT = "fbx_of_a_soft_budget"


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker whose price topic no other test's gateway reads."""
    broker = Kafka(tmp_path_factory.mktemp("broker"))
    broker.start()
    run_apart(topics.create(broker.bootstrap, replication=1))
    yield broker.bootstrap
    broker.stop()


async def tell(bootstrap: str, as_of: datetime, revision: int) -> None:
    """As metering does."""
    event = CatalogueAsOf(as_of=as_of, lead_s=900, revision=revision)
    envelope = Envelope(new_id(), "farebox/metering", as_of, "as-of", event)
    async with Producer(bootstrap, client_id="metering") as producer:
        await producer.send([Message.carrying(envelope, topic="price.catalogue", key="as-of")], 20.0)


async def ready(gateway: GatewayProcess) -> bool:
    return gateway.health("ready").status_code == 200


async def unready(gateway: GatewayProcess) -> bool:
    return "Prices here are as of" in gateway.health("ready").text


@pytest.mark.parametrize(("off", "soft"), [(DAY, 200), (-DAY, 503)], ids=["ahead or deaf", "behind"])
async def test_a_clock_a_day_off_refuses_calls_under_hard_budgets_and_where_it_must_be_wrong_all(
    start_gateway: Any, own_broker: str, own_service: FakeBudget, api_key: str, off: timedelta, soft: int
) -> None:
    gateway: GatewayProcess = start_gateway(kafka=own_broker)
    own_service.open(SOFT, user="soft", mode="soft")
    number = int(datetime.now(UTC).timestamp())
    await tell(own_broker, datetime.now(UTC), number)
    assert (await chat(gateway, api_key, max_tokens=10)).status_code == 200
    await tell(own_broker, datetime.now(UTC) - off, number + 1)
    await eventually(lambda: unready(gateway))
    refused = await chat(gateway, api_key, max_tokens=10)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "prices_outdated")
    assert gateway.metric("farebox_gateway_refused_total", reason="prices_outdated") == 1
    assert (await chat(gateway, SOFT, max_tokens=10)).status_code == soft
    await tell(own_broker, datetime.now(UTC), number + 2)
    await eventually(lambda: ready(gateway))
    assert (await chat(gateway, api_key, max_tokens=10)).status_code == 200
