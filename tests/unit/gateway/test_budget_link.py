import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from farebox.events import CallAttributes
from farebox.ids import new_id
from farebox.shares import (
    Answer,
    Beat,
    BeatAnswer,
    Need,
    Opening,
    RaiseAnswer,
    RaiseRefusal,
    RaiseRequest,
    ShareTotal,
    StartAnswer,
    StartRequest,
    WindowRef,
)
from gateway.budget_link import heartbeat, questions, standing, start
from gateway.budget_link.books_clock import BooksClock
from gateway.budget_link.heartbeat import Heartbeat
from gateway.budget_link.questions import Learnt, Question, Questions, Raise
from gateway.budget_link.standing import SILENT_S, Standing
from gateway.errors import BudgetAway, Fenced, UnknownKey
from gateway.journal.journal import Journal
from gateway.journal.record import Entry
from gateway.policy.policies import Policies
from gateway.shares.amount import Amount
from gateway.shares.shares import Shares, Window, WindowKey
from support.clock import HandClock
from support.eventually import eventually
from support.reservations import NOW, WINDOW, path_budget, policy

ONE, OTHER = "a" * 64, "b" * 64
SECOND = Window(WindowKey(UUID(int=6), WINDOW.key.start), 0, None)


class StubService:
    """Answers raises when it is told to, with what it is told; starts and beats at once."""

    def __init__(self) -> None:
        self.starts: list[StartRequest] = []
        self.raises: list[RaiseRequest] = []
        self.beats: list[Beat] = []
        self.answers: asyncio.Queue[RaiseAnswer | Exception] = asyncio.Queue()
        self.failures: list[Exception] = []
        """Of the next starts and beats."""
        self.says = BeatAnswer()

    async def start(self, request: StartRequest) -> StartAnswer:
        self.starts.append(request)
        if self.failures:
            raise self.failures.pop(0)
        return StartAnswer(epoch=3)

    async def raise_shares(self, request: RaiseRequest) -> RaiseAnswer:
        self.raises.append(request)
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def beat(self, beat: Beat) -> BeatAnswer:
        self.beats.append(beat)
        if self.failures:
            raise self.failures.pop(0)
        says, self.says = self.says, BeatAnswer(policy_revision=self.says.policy_revision)
        return says

    def answer(self, *answers: Answer) -> None:
        self.answers.put_nowait(RaiseAnswer(answers=answers))


class Linked:
    """What connects a gateway with the budget service, with the shares that it brings."""

    def __init__(self, folder: Path) -> None:
        self.service = StubService()
        self.shares = Shares()
        self.clock = HandClock(NOW)
        self.policies = Policies(fresh_s=30, stale_s=600)
        self.journal = Journal(
            folder, segment_bytes=1 << 20, limit_bytes=1 << 30, spent=self.shares.spent, boot="this boot"
        )
        books_clock = BooksClock(self.clock)
        self.standing = Standing("gw", books_clock)
        self.questions = Questions(
            self.service, standing=self.standing, shares=self.shares, policies=self.policies, clock=books_clock
        )
        self.heartbeat = Heartbeat(
            self.service,
            standing=self.standing,
            questions=self.questions,
            shares=self.shares,
            policies=self.policies,
            journal=self.journal,
            clock=books_clock,
        )

    def ask(self, need: int = 10, *windows: Window, key_hash: str = ONE) -> "asyncio.Task[Learnt | None]":
        raises = tuple(Raise(each, need, need) for each in windows or (WINDOW,))
        return asyncio.create_task(self.questions.obtain(Question(key_hash, raises=raises)))

    async def has_asked(self, times: int) -> None:
        await eventually(lambda: len(self.service.raises) == times)

    async def beats(self, times: int = 1) -> None:
        heard = len(self.service.beats)
        await eventually(lambda: len(self.service.beats) >= heard + times)


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Linked:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.02)
    return Linked(tmp_path)


@pytest.fixture
async def live(linked: Linked) -> AsyncIterator[Linked]:
    running = asyncio.create_task(linked.heartbeat.run())
    await eventually(lambda: not linked.standing.unready())
    yield linked
    running.cancel()
    linked.journal.close()


def granted(total: int, *windows: Window) -> Answer:
    shares = tuple(
        ShareTotal(budget_id=each.key.budget_id, window_start=each.key.start, measure="money", granted=total)
        for each in windows or (WINDOW,)
    )
    return Answer(policy=policy(budgets=(path_budget(), path_budget(budget_id=UUID(int=6)))), shares=shares)


def refused() -> Answer:
    refusal = RaiseRefusal(code="budget_exceeded", budget_id=WINDOW.key.budget_id)
    return Answer(policy=policy(), refusal=refusal)


async def test_of_a_window_one_raise_is_under_way_at_a_time(live: Linked) -> None:
    calls = [live.ask() for _ in range(10)]
    await live.has_asked(1)
    live.service.answer(granted(10))
    learnt = await asyncio.gather(*calls)
    assert len(live.service.raises) == 1
    assert sum(each is None for each in learnt) == 9, "they look at what there is, and ask again if it is too little"


async def test_what_waits_for_a_raise_is_asked_for_with_the_next(live: Linked) -> None:
    first = live.ask(10)
    await live.has_asked(1)
    later = [live.ask(10) for _ in range(3)]
    live.service.answer(granted(10))
    await first

    async def again(waited: "asyncio.Task[Learnt | None]") -> None:
        assert await waited is None
        await live.ask(10)

    retries = [asyncio.create_task(again(each)) for each in later]
    await live.has_asked(2)
    live.service.answer(granted(40))
    await asyncio.gather(*retries)
    (window,) = live.service.raises[1].asks[0].windows
    assert (window.least, window.need) == (10, 30), "10 are in hand, and 10 more are the least"


async def test_asks_of_one_turn_share_a_message(live: Linked) -> None:
    calls = [live.ask(10, WINDOW), live.ask(10, SECOND, key_hash=OTHER)]
    await live.has_asked(1)
    live.service.answer(granted(10), granted(10, SECOND))
    await asyncio.gather(*calls)
    assert [ask.key_hash for ask in live.service.raises[0].asks] == [ONE, OTHER]
    assert live.shares.room([SECOND]).money == 10


async def test_asks_gather_while_messages_are_under_way(live: Linked) -> None:
    windows = [Window(WindowKey(UUID(int=number), WINDOW.key.start), 0, None) for number in range(10)]
    calls = []
    for number, window in enumerate(windows):
        calls.append(live.ask(10, window))
        await live.has_asked(min(number + 1, questions.SENDERS_MAX))
    live.service.answer(granted(10))
    await live.has_asked(questions.SENDERS_MAX + 1)
    assert len(live.service.raises[-1].asks) == len(windows) - questions.SENDERS_MAX
    for call in calls:
        call.cancel()


async def test_a_lost_answer_changes_nothing_and_the_same_total_is_asked_for_again(live: Linked) -> None:
    live.service.answers.put_nowait(BudgetAway("timeout"))
    with pytest.raises(BudgetAway):
        await live.ask()
    live.clock.move(timedelta(seconds=standing.AWAY_FOR_S))
    live.service.answer(granted(10))
    await live.ask()
    first, second = (each.asks[0].windows for each in live.service.raises)
    assert first == second
    assert live.shares.room([WINDOW]).money == 10


async def test_an_answer_that_comes_late_does_no_harm(live: Linked) -> None:
    live.service.answer(granted(30))
    await live.ask()
    live.service.answer(granted(10))
    await live.ask()
    assert live.shares.room([WINDOW]).money == 30


async def test_nobody_waits_for_a_service_that_was_away_a_moment_ago(live: Linked) -> None:
    live.service.failures = [BudgetAway("beats are lost")] * 1000
    live.service.answers.put_nowait(BudgetAway("timeout"))
    for _ in range(2):
        with pytest.raises(BudgetAway):
            await live.ask()
    assert len(live.service.raises) == 1


async def test_a_key_that_is_gone_says_nothing_about_its_neighbours(live: Linked) -> None:
    gone, neighbour = live.ask(key_hash=ONE), live.ask(key_hash=OTHER)
    await live.has_asked(1)
    live.service.answer(Answer(policy=None))
    with pytest.raises(UnknownKey):
        await gone
    assert await neighbour is None
    assert live.policies.is_unknown(ONE, live.clock.monotonic())


async def test_an_unknown_key_is_asked_for_once_with_its_call(live: Linked) -> None:
    need = Need(cost_nano_usd=7, requests=1, tokens=3)
    call = CallAttributes(upstream="demo", provider="openai", model="gpt-4o")
    opening = Opening(attributes=call, least=need, need=need)
    calls = [asyncio.create_task(live.questions.obtain(Question(ONE, opening=opening))) for _ in range(2)]
    await live.has_asked(1)
    live.service.answer(granted(7))
    await asyncio.gather(*calls)
    assert [ask.opening for each in live.service.raises for ask in each.asks] == [opening]
    assert live.policies.fresh(ONE, live.clock.monotonic())


async def test_an_opening_without_an_answer_is_asked_again_ahead_of_any_call(live: Linked) -> None:
    need = Need(cost_nano_usd=7, requests=1, tokens=3)
    call = CallAttributes(upstream="demo", provider="openai", model="gpt-4o")
    opening = Opening(attributes=call, least=need, need=need)
    live.service.answers.put_nowait(BudgetAway("timeout"))
    with pytest.raises(BudgetAway):
        await live.questions.obtain(Question(ONE, opening=opening))
    await live.has_asked(2)
    live.service.answer(granted(7))
    await eventually(lambda: live.shares.room([WINDOW]).money == 7)


async def test_a_refusal_is_told_with_the_policy(live: Linked) -> None:
    live.service.answer(refused())
    learnt = await live.ask()
    assert learnt is not None
    assert learnt.refusal is not None
    assert learnt.key_policy.who.key == "k1"


async def test_renewals_wait_for_a_raise_also_where_they_need_nothing(live: Linked) -> None:
    first = live.ask(10)
    await live.has_asked(1)
    renewals = [live.ask(0) for _ in range(2)]
    live.service.answer(granted(10))
    assert await first
    assert await asyncio.gather(*renewals) == [None, None]


async def test_what_is_overdrawn_travels_with_the_next_raise_of_its_window(live: Linked) -> None:
    live.shares.granted(WINDOW, 10, 0)
    hold = live.shares.reserve([WINDOW], Amount(10), 0)
    assert hold
    live.shares.settle(hold, Amount(17))
    live.service.failures = [BudgetAway("beats are lost")] * 1000
    asked = live.ask()
    await live.has_asked(1)
    (report,) = live.service.raises[0].reports
    live.service.answer(granted(20))
    await asked
    assert (report.granted, report.overdrawn) == (10, 7)
    assert live.shares.reports(9) == []


async def test_a_beat_tells_what_is_new_and_brings_totals(live: Linked) -> None:
    live.shares.granted(WINDOW, 10, 0)
    total = ShareTotal(budget_id=WINDOW.key.budget_id, window_start=WINDOW.key.start, measure="money", granted=25)
    live.service.says = BeatAnswer(shares=(total,))
    await eventually(lambda: live.shares.room([WINDOW]).money == 25)
    assert live.service.beats[-1].last_record == live.journal.last_record


async def test_what_is_recalled_comes_back_at_once(live: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    live.shares.granted(WINDOW, 10, 0)
    monkeypatch.setattr(heartbeat, "BEAT_S", 3600)
    recalled = WindowRef(budget_id=WINDOW.key.budget_id, window_start=WINDOW.key.start)
    live.service.says = BeatAnswer(recalled=(recalled,))
    await eventually(lambda: any(each.returned == 10 for beat in live.service.beats for each in beat.reports))


async def test_a_beat_outdates_the_policies_it_names(live: Linked) -> None:
    live.policies.learn(ONE, policy(), asked_at=0)
    live.service.says = BeatAnswer(policy_revision=7, changed=("ann",))
    await eventually(lambda: live.policies.fresh(ONE, 0) is None)
    await eventually(lambda: live.service.beats[-1].policy_revision == 7)


async def test_a_beat_that_names_nobody_outdates_every_policy(live: Linked) -> None:
    live.policies.learn(ONE, policy(), asked_at=0)
    live.service.says = BeatAnswer(policy_revision=7, changed=None)
    await eventually(lambda: live.policies.fresh(ONE, 0) is None)


async def test_a_revision_that_went_backwards_outdates_every_policy(live: Linked) -> None:
    """The database was set back: what it numbers from now on is something else."""
    live.service.says = BeatAnswer(policy_revision=7)
    await eventually(lambda: live.service.beats[-1].policy_revision == 7)
    live.policies.learn(ONE, policy(), asked_at=0)
    live.service.says = BeatAnswer(policy_revision=5, changed=())
    await eventually(lambda: live.policies.fresh(ONE, 0) is None)
    await eventually(lambda: live.service.beats[-1].policy_revision == 5)


async def test_a_fenced_link_asks_no_more(live: Linked) -> None:
    live.service.failures = [Fenced("newer")]
    await eventually(lambda: live.standing.is_fenced)
    with pytest.raises(Fenced):
        await live.ask()
    assert live.standing.problems()
    assert live.service.raises == []


async def test_a_raise_that_is_fenced_fences_the_link(live: Linked) -> None:
    live.service.answers.put_nowait(Fenced("newer"))
    with pytest.raises(Fenced):
        await live.ask()
    assert live.standing.is_fenced


async def test_a_link_that_is_not_heard_for_five_minutes_is_silent(live: Linked) -> None:
    await live.beats()
    live.service.failures = [BudgetAway("away")] * 1000
    await live.beats()
    live.clock.move(timedelta(seconds=SILENT_S - 0.1))
    assert not live.standing.is_silent(live.clock.monotonic())
    live.clock.move(timedelta(seconds=0.1))
    assert live.standing.is_silent(live.clock.monotonic())


async def test_silence_counts_from_when_the_beat_was_sent(linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service may have heard it as early as that."""
    beat = linked.service.beat

    async def slow(sent: Beat) -> BeatAnswer:
        linked.clock.move(timedelta(seconds=3))
        return await beat(sent)

    monkeypatch.setattr(linked.service, "beat", slow)
    running = asyncio.create_task(linked.heartbeat.run())
    await linked.beats()
    running.cancel()
    linked.clock.move(timedelta(seconds=SILENT_S - 3))
    assert linked.standing.is_silent(linked.clock.monotonic())


async def test_a_start_without_an_answer_is_repeated_by_the_same_process(linked: Linked) -> None:
    linked.service.failures = [BudgetAway("lost"), BudgetAway("lost")]
    running = asyncio.create_task(linked.heartbeat.run())
    await eventually(lambda: not linked.standing.unready())
    running.cancel()
    assert len({each.process_id for each in linked.service.starts}) == 1
    assert len(linked.service.starts) == 3


async def test_a_start_says_what_the_epoch_before_spent_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "SPENT_MAX", 2)
    before = Linked(tmp_path)
    before.journal.epoch(2)
    windows = tuple((WindowKey(UUID(int=number), WINDOW.key.start), 0) for number in range(5))
    done = Entry(new_id(), windows, Amount(4), "ann", NOW, b"{}")
    before.journal.completed(done, before.journal.intent(done))
    before.journal.close()
    after = Linked(tmp_path)
    running = asyncio.create_task(after.heartbeat.run())
    await eventually(lambda: not after.standing.unready())
    running.cancel()
    after.journal.close()
    starts = after.service.starts
    assert [each.more for each in starts] == [True, True, False]
    assert [window.spent for each in starts for window in each.spent] == [4] * 5
    assert {(each.last_epoch, each.is_whole) for each in starts} == {(2, True)}


async def test_at_its_end_a_link_gives_everything_back(live: Linked) -> None:
    live.shares.granted(WINDOW, 10, 0)
    live.shares.granted(SECOND, 20, 0)
    await live.heartbeat.stop()
    told = {each.budget_id.int: each.returned for each in live.service.beats[-2].reports}
    assert told == {5: 10, 6: 20}
    assert live.service.beats[-1].reports == ()
