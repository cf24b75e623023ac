"""A disk that takes no more: nothing goes out that is not written down, and what is under way is not lost."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from farebox.pricing import UsageSource
from support.eventually import eventually
from support.fake_budget import FakeAccount, FakeBudget
from support.gateway import GatewayProcess, chat, published, settled
from support.provider import DemoProvider

MODES = pytest.mark.parametrize(
    "own_service", [{"mode": "hard"}, {"mode": "soft"}], indirect=True, ids=["hard", "soft"]
)
SHORT = 200
"""Bytes that are left: a `published` of one attempt fits, an intent does not."""


@contextmanager
def full_disk(gateway: GatewayProcess) -> Iterator[None]:
    """No file of the process grows any more. Its log, which is shorter than its journal, still can."""
    journal = max(path.stat().st_size for path in gateway.journal.glob("segment-*"))
    assert gateway.process.log.stat().st_size < journal / 2
    pid = gateway.process.pid
    assert pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (journal + SHORT, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def at_work(gateway: GatewayProcess, api_key: str) -> None:
    """Some calls, so that there is a journal."""
    answers = await asyncio.gather(*(chat(gateway, api_key, max_tokens=10) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


def told(gateway: GatewayProcess) -> list[str]:
    """What the log says of the journal."""
    lines = gateway.process.log.read_text().splitlines()
    return [event for line in lines for event in ("journal_not_writable", "journal_writable_again") if event in line]


@MODES
async def test_on_a_full_disk_no_call_goes_out_and_afterwards_all_do(
    own_gateway: GatewayProcess, own_account: FakeAccount, api_key: str, user: str, kafka: str, provider: DemoProvider
) -> None:
    await at_work(own_gateway, api_key)
    with full_disk(own_gateway):
        refused = [await chat(own_gateway, api_key, max_tokens=10) for _ in range(10)]
        assert {(each.status_code, each.json()["error"]["code"]) for each in refused} == {(503, "journal_unavailable")}
        assert own_gateway.health("live").status_code == 200
        assert own_gateway.health("ready").status_code == 503
        assert "journal: " in own_gateway.health("ready").text
        assert len(provider.bill()) == 20
    await eventually(lambda: own_gateway.health("ready").status_code == 200)
    await at_work(own_gateway, api_key)
    events = await published(kafka, 40, user=user)
    assert sorted(str(event.attempt_id) for event in events) == sorted(line["request_id"] for line in provider.bill())
    assert told(own_gateway) == ["journal_not_writable", "journal_writable_again"]
    await asyncio.to_thread(own_gateway.stop)
    assert own_account.held == settled(events)


async def test_a_call_under_way_when_the_disk_fills_is_answered_published_and_charged_what_it_cost(
    own_gateway: GatewayProcess,
    own_service: FakeBudget,
    own_account: FakeAccount,
    api_key: str,
    user: str,
    kafka: str,
    provider: DemoProvider,
) -> None:
    await at_work(own_gateway, api_key)
    slow = asyncio.create_task(chat(own_gateway, api_key, max_tokens=60, orders={"latency-ms": "1500"}))
    await eventually(lambda: len(provider.bill()) == 21)
    with full_disk(own_gateway):
        assert (await slow).status_code == 200
        events = await published(kafka, 21, user=user)
    assert {event.usage.source for event in events} == {UsageSource.REPORTED}
    await asyncio.to_thread(own_gateway.kill)
    await asyncio.to_thread(own_gateway.start)
    await eventually(lambda: own_service.epoch() == 2)
    assert own_account.held == settled(events)
