"""What survives the end of a process, Kafka's absence and the budget service's."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from farebox import topics
from farebox.pricing import UsageSource
from farebox_local.kafka import Kafka
from support.eventually import eventually
from support.fake_budget import FakeAccount, FakeBudget
from support.gateway import GatewayProcess, chat, published, settled
from support.provider import DemoProvider


async def test_a_killed_gateway_charges_what_was_under_way_at_an_estimate_and_holds_the_rest(
    own_gateway: GatewayProcess,
    own_service: FakeBudget,
    own_account: FakeAccount,
    api_key: str,
    user: str,
    kafka: str,
    provider: DemoProvider,
) -> None:
    done = await chat(own_gateway, api_key, max_tokens=10)
    lost = asyncio.create_task(chat(own_gateway, api_key, max_tokens=60, orders={"latency-ms": "30000"}))
    await eventually(lambda: len(provider.bill()) == 2)
    own_gateway.kill()
    with pytest.raises(httpx.HTTPError):
        await lost
    own_gateway.start()
    events = {event.outcome: event for event in await published(kafka, 2, user=user)}
    assert events["success"].request_id == UUID(done.headers["x-farebox-request-id"])
    lost_one = events["recovered"]
    assert lost_one.usage.source is UsageSource.ESTIMATED
    assert lost_one.held
    assert lost_one.held.uncertain.money > 0
    assert {str(event.attempt_id) for event in events.values()} == {line["request_id"] for line in provider.bill()}
    assert own_service.epoch() == 2
    assert own_account.held == settled(events.values())


async def test_a_stopped_gateway_finishes_its_calls_and_gives_everything_back(
    own_gateway: GatewayProcess, own_account: FakeAccount, api_key: str, user: str, kafka: str
) -> None:
    slow = asyncio.create_task(chat(own_gateway, api_key, orders={"latency-ms": "700"}))
    await eventually(lambda: len(own_account.asks) > 0)
    await asyncio.to_thread(own_gateway.stop)
    assert (await slow).status_code == 200
    events = await published(kafka, 1, user=user)
    assert own_gateway.process.exit_code == 0
    assert own_account.held == settled(events)


async def test_nothing_waits_for_kafka_and_nothing_is_lost_without_it(
    start_gateway: Any, api_key: str, user: str, tmp_path: Path
) -> None:
    broker = Kafka(tmp_path / "broker")
    broker.start()
    try:
        await topics.create(broker.bootstrap, replication=1)
        own_gateway = start_gateway(kafka=broker.bootstrap)
        broker.kill()
        answers = await asyncio.gather(*(chat(own_gateway, api_key, max_tokens=10) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
        assert own_gateway.health("live").status_code == 200
        own_gateway.kill()
        own_gateway.spawn()
        await eventually(lambda: own_gateway.health("live").status_code == 200)
        broker.start()
        assert len(await published(broker.bootstrap, 5, user=user)) == 5
    finally:
        broker.stop()


async def test_without_the_budget_service_shares_in_hand_are_spent_and_then_calls_refused(
    own_gateway: GatewayProcess, api_key: str, own_service: FakeBudget
) -> None:
    for _ in range(2):  # the first is given what it needs, the second some calls ahead
        assert (await chat(own_gateway, api_key, max_tokens=100)).status_code == 200
    own_service.stop()
    answers = [await chat(own_gateway, api_key, max_tokens=100) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {200}
    refused = await chat(own_gateway, api_key, max_tokens=100_000)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "budget_unavailable"
    assert refused.headers["retry-after"]
    own_service.start()

    async def passes() -> bool:
        return (await chat(own_gateway, api_key, max_tokens=100_000)).status_code == 200

    await eventually(passes)


@pytest.mark.parametrize("own_service", [{"mode": "soft", "fresh_for_ms": 1}], indirect=True)
async def test_without_the_budget_service_keys_of_soft_budgets_pass_on_what_is_known(
    own_gateway: GatewayProcess, api_key: str, own_service: FakeBudget
) -> None:
    assert (await chat(own_gateway, api_key)).status_code == 200
    own_service.stop()
    assert (await chat(own_gateway, api_key)).status_code == 200
    assert (await chat(own_gateway, "fbx_never_seen")).status_code == 503


async def test_a_gateway_without_the_budget_service_is_alive_and_not_ready(
    start_gateway: Any, own_service: FakeBudget, own_gateway: GatewayProcess
) -> None:
    own_gateway.stop()
    own_service.stop()
    own_gateway.spawn()
    await eventually(lambda: own_gateway.health("live").status_code == 200)
    assert own_gateway.health("ready").status_code == 503
    own_service.start()
    await eventually(lambda: own_gateway.health("ready").status_code == 200)


async def test_a_recalled_share_goes_back(
    own_gateway: GatewayProcess, api_key: str, user: str, kafka: str, own_account: FakeAccount
) -> None:
    await chat(own_gateway, api_key)
    own_account.recall()
    events = await published(kafka, 1, user=user)
    await eventually(lambda: own_account.held == settled(events))


async def test_more_is_asked_for_ahead_and_no_call_waits_for_it(
    own_gateway: GatewayProcess, own_service: FakeBudget, own_account: FakeAccount, api_key: str
) -> None:
    call: dict[str, Any] = {"max_tokens": 200, "orders": {"completion-tokens": "200"}}
    for _ in range(3):
        await chat(own_gateway, api_key, **call)
    own_service.is_slow = True
    told = []
    while not own_service.waiting:
        told.append((await chat(own_gateway, api_key, **call)).status_code)
    own_service.is_slow = False
    assert set(told) == {200}, "a call that waited for a raise that does not come is refused"
