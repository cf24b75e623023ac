import asyncio
import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from farebox.leasing import (
    GrantAnswer,
    GrantRequest,
    Heartbeat,
    HeartbeatAnswer,
    Lease,
    Refusal,
    Share,
    StartAnswer,
    StartRequest,
)
from gateway.admission.estimate import Amount
from gateway.budget_link.client import Answer, Ask, LeaseClient
from gateway.errors import BudgetAway, JournalFull, UnknownKey
from gateway.journal.journal import Journal
from gateway.policy.policies import Policies
from gateway.shares.leases import Held, Leases, PoolKey, Total
from support.clock import JumpingClock
from support.eventually import eventually
from support.reservations import BUDGET, policy, reservation

POOL: PoolKey = ("VND", (BUDGET,))
ANY = (None, None, None, None)
WORST = reservation().estimate
ONE, OTHER = "a" * 64, "b" * 64


class FakeService:
    """Answers when it is told to, with what it is told."""

    def __init__(self) -> None:
        self.asked: list[GrantRequest] = []
        self.beats: list[Heartbeat] = []
        self.answers: asyncio.Queue[GrantAnswer | Exception] = asyncio.Queue()

    async def start(self, request: StartRequest) -> StartAnswer:  # noqa: ARG002 - the protocol’s
        return StartAnswer(epoch=1)

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatAnswer:
        self.beats.append(beat)
        return HeartbeatAnswer()

    async def grant(self, request: GrantRequest) -> GrantAnswer:
        self.asked.append(request)
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Desk:
    """A client with an epoch, its service and its leases."""

    def __init__(self, folder: Path) -> None:
        self.service = FakeService()
        self.leases = Leases()
        self.clock = JumpingClock()
        self.journal = Journal(folder, segment_bytes=1 << 20, limit_bytes=1 << 30, totals=self.leases.totals)
        self.client = LeaseClient(
            self.service,
            instance="gw",
            leases=self.leases,
            policies=Policies(fresh_s=30, stale_s=60),
            journal=self.journal,
            clock=self.clock,
        )

    def ask(self, key_hash: str = ONE) -> "asyncio.Task[Answer | None]":
        return asyncio.create_task(self.client.obtain(Ask(key_hash, ANY, None, POOL, WORST, WORST)))

    async def is_heard(self) -> None:
        heard = len(self.service.beats)
        await eventually(lambda: len(self.service.beats) > heard)

    async def has_asked(self, times: int) -> None:
        await eventually(lambda: len(self.service.asked) == times)


@pytest.fixture
async def desk(tmp_path: Path) -> Any:
    desk = Desk(tmp_path)
    running = asyncio.create_task(desk.client.run())
    await eventually(lambda: not desk.client.unready())
    yield desk
    running.cancel()
    desk.journal.close()


def granted(*, number: int = 1, valid_for_ms: int | None = None) -> GrantAnswer:
    share = Share(budget_id=BUDGET, measure="money", granted=WORST.amount.money)
    lease = Lease(lease_id=UUID(int=number), shares=(share,), valid_for_ms=valid_for_ms)
    return GrantAnswer(policy=policy(), lease=lease)


def state(lease: Held) -> tuple[object, ...]:
    return lease.expires_at, lease.room, lease.spent, lease.returned, lease.is_closing, lease.revision


def refused() -> GrantAnswer:
    return GrantAnswer(policy=policy(), refusal=Refusal(code="budget_exceeded", budget_id=BUDGET))


def written(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("segment-*"))


async def test_calls_that_come_together_ask_once(desk: Desk) -> None:
    calls = [desk.ask() for _ in range(10)]
    await desk.has_asked(1)
    desk.service.answers.put_nowait(granted())
    answers = await asyncio.gather(*calls)
    assert len(desk.service.asked) == 1
    assert sum(answer is None for answer in answers) == 9, "they look into the lease, and ask again if it is empty"


async def test_the_next_question_asks_for_those_who_waited(desk: Desk) -> None:
    calls = [desk.ask() for _ in range(10)]
    await desk.has_asked(1)
    desk.service.answers.put_nowait(granted())
    await asyncio.gather(*calls)
    later = desk.ask()
    await desk.has_asked(2)
    desk.service.answers.put_nowait(granted(number=2))
    await later
    first, second = (asked.want.requests for asked in desk.service.asked)
    assert second >= first + 9


async def test_who_needs_as_much_is_refused_with_the_one_who_asked(desk: Desk) -> None:
    calls = [desk.ask() for _ in range(3)]
    await desk.has_asked(1)
    desk.service.answers.put_nowait(refused())
    answers = await asyncio.gather(*calls)
    assert all(answer is not None and answer.refusal for answer in answers)
    assert len(desk.service.asked) == 1


async def test_a_key_that_is_gone_says_nothing_about_its_neighbours(desk: Desk) -> None:
    gone, neighbour = desk.ask(ONE), desk.ask(OTHER)
    await desk.has_asked(1)
    desk.service.answers.put_nowait(UnknownKey("gone"))
    with pytest.raises(UnknownKey):
        await gone
    assert await neighbour is None


async def test_a_question_without_an_answer_is_repeated_under_its_id(desk: Desk) -> None:
    desk.service.answers.put_nowait(BudgetAway("timeout"))
    with pytest.raises(BudgetAway):
        await desk.ask()
    desk.service.answers.put_nowait(granted())

    async def answered() -> bool:
        return (await desk.ask()) is not None

    await eventually(answered)
    first, second = desk.service.asked
    assert first.lease_id == second.lease_id


async def test_nobody_waits_for_a_service_that_was_away_a_moment_ago(desk: Desk) -> None:
    desk.service.answers.put_nowait(BudgetAway("timeout"))
    for _ in range(2):
        with pytest.raises(BudgetAway):
            await desk.ask()
    assert len(desk.service.asked) == 1


async def test_before_a_refusal_stands_idle_rights_of_other_pools_are_given_back(desk: Desk) -> None:
    other: PoolKey = ("VND", (UUID(int=1), BUDGET))
    share = Share(budget_id=BUDGET, measure="money", granted=70)
    desk.leases.add(other, Lease(lease_id=UUID(int=99), shares=(share,), valid_for_ms=None), 0)
    desk.service.answers.put_nowait(refused())
    desk.service.answers.put_nowait(granted())
    answer = await desk.ask()
    assert answer is not None
    assert answer.refusal is None
    (report,) = desk.service.asked[1].reports
    assert (report.lease_id, report.returned) == (UUID(int=99), {BUDGET: 70})


def fill(patch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "write", no_room)


async def test_who_could_not_write_a_lease_down_asks_for_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    with pytest.raises(JournalFull):
        desk.journal.lease(Total(UUID(int=1), (), Amount()))
    with pytest.raises(JournalFull):
        await desk.ask()
    assert desk.service.asked == []


async def test_a_lease_that_could_not_be_written_down_goes_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    desk.service.answers.put_nowait(granted())
    with capture_logs() as lines:
        desk.client.renew(Ask(ONE, ANY, None, POOL, None, WORST))
        await eventually(lambda: "renewal_failed" in [line["event"] for line in lines])
    assert desk.leases.reserve(POOL, Amount(1), 0) is None
    (report,) = desk.leases.reports(9)
    assert report.wire.returned == {BUDGET: WORST.amount.money}


async def test_a_lease_is_in_the_journal_before_it_is_used(desk: Desk, tmp_path: Path) -> None:
    desk.service.answers.put_nowait(granted())
    await desk.ask()
    assert desk.leases.reserve(POOL, Amount(1), 0)
    assert str(UUID(int=1)) in written(tmp_path)


async def test_a_wall_clock_that_jumps_changes_no_lease_and_skips_no_heartbeat(desk: Desk) -> None:
    desk.service.answers.put_nowait(granted(valid_for_ms=60_000))
    await desk.ask()
    hold = desk.leases.reserve(POOL, Amount(1), desk.clock.monotonic())
    assert hold
    before = state(hold.lease)
    for by in (timedelta(days=1), timedelta(days=-2), timedelta(days=1)):
        desk.clock.jump(by)
        await desk.is_heard()
    assert state(hold.lease) == before
    assert {(beat.epoch, beat.reports, beat.given_up) for beat in desk.service.beats} == {(1, (), ())}
