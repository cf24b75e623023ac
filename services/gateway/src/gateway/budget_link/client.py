"""The shell around `shares`: claims an epoch, asks for raises, beats once a second.

Of one window one raise is under way at a time; calls that come meanwhile wait for it and ask for their sum. Asks that
come together travel in one message.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from farebox import faults
from farebox.ids import new_id
from farebox.kafka.backoff import Backoff
from farebox.shares import (
    Answer,
    Beat,
    BeatAnswer,
    Opening,
    RaiseRefusal,
    RaiseRequest,
    WindowAsk,
)
from farebox.shares import Ask as WireAsk
from gateway import metrics
from gateway.attempts.event import GatewayEpoch
from gateway.budget_link.books_clock import BooksClock
from gateway.budget_link.service import ShareService
from gateway.budget_link.start import start_requests
from gateway.errors import BudgetAway, Fenced, JournalFull, UnknownKey
from gateway.journal.journal import Journal, Recovered
from gateway.policy.policies import KeyPolicy, Policies
from gateway.shares.shares import Report, Shares, Window, WindowKey

log = structlog.get_logger()

BEAT_S: Final = 1.0
FORGET_EVERY_S: Final = 30.0
SILENT_S: Final = 300.0
"""Without an answered beat for so long, nothing is admitted under hard budgets: an operator may release our shares."""
REPORTS_MAX: Final = 2_000
"""Shares with news in one beat: about 400 kB."""
IN_TURN: Final = 100
"""Other shares in one beat, so that the service hears of all of them now and then."""
REPORTS_WITH_RAISE_MAX: Final = 100
ASKS_MAX: Final = 100
SENDERS_MAX: Final = 2
"""Messages with asks under way at a time: while they are, further asks gather."""
AWAY_FOR_S: Final = 0.5
"""After a call failed nobody tries again for so long, so that calls fail at once instead of queueing for a timeout."""
RETRY: Final = Backoff(base_s=0.2, cap_s=5.0)


@dataclass(frozen=True, slots=True)
class Raise:
    """A window that is short: how much more a call needs there at least, and in full."""

    window: Window
    least: int
    need: int


@dataclass(frozen=True, slots=True)
class Question:
    """What a call lacks: the policy of its key, with an opening where it is not known, or raises of windows."""

    key_hash: str
    opening: Opening | None = None
    raises: tuple[Raise, ...] = ()


@dataclass(frozen=True, slots=True)
class Learnt:
    """`known` is the policy just learnt; `refusal` names the budget that cannot carry the least."""

    key_policy: KeyPolicy
    refusal: RaiseRefusal | None


@dataclass(slots=True, eq=False)
class _Flight:
    """A question under way, and what to tell those that wait for its end."""

    question: Question
    asked_at: float
    done: "asyncio.Future[Learnt]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def keys(self) -> tuple[Hashable, ...]:
        windows = tuple(each.window.key for each in self.question.raises)
        return windows or (self.question.key_hash,)


class BudgetLink:
    """`run` keeps the gateway in touch with the budget service until it is cancelled."""

    def __init__(
        self,
        service: ShareService,
        *,
        instance: str,
        shares: Shares,
        policies: Policies,
        journal: Journal,
        clock: BooksClock,
    ) -> None:
        self._service = service
        self._instance = instance
        self._shares = shares
        self._policies = policies
        self._journal = journal
        self._clock = clock
        self._process_id = new_id()
        self._epoch = 0
        self._policy_revision = 0
        self._answered_at = 0.0
        self._away_until = 0.0
        self._flights: dict[Hashable, _Flight] = {}
        self._queue: deque[_Flight] = deque()
        self._waiting: Counter[WindowKey] = Counter()
        self._unheard: dict[str, Question] = {}
        self._senders = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat_now = asyncio.Event()
        self.is_fenced = False
        """Whether a newer process has claimed this gateway's name: nothing may be admitted any more."""

    @property
    def epoch(self) -> GatewayEpoch:
        return GatewayEpoch(self._instance, self._epoch)

    def is_silent(self, now: float) -> bool:
        """Whether the service has not answered for so long that it may have given our shares to others."""
        return now - self._answered_at >= SILENT_S

    async def run(self) -> None:
        """Claim an epoch, for as long as it takes, then beat every BEAT_S."""
        await self._claim(self._journal.recovered)
        forget_at = self._clock.monotonic() + FORGET_EVERY_S
        while not self.is_fenced:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._beat_now.wait(), BEAT_S)
            self._beat_now.clear()
            now = self._clock.monotonic()
            self._shares.tick(now)
            if now >= forget_at:
                self._policies.tick(now)
                forget_at = now + FORGET_EVERY_S
            with contextlib.suppress(BudgetAway, Fenced):
                await self._beat(also=IN_TURN)
                for question in self.unheard():
                    self.renew(question)
        log.error("fenced", instance=self._instance)

    async def stop(self) -> None:
        """Give everything back."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._epoch and (unheard := self.unheard()):
            await self._send([_Flight(question, self._clock.monotonic()) for question in unheard])
        with contextlib.suppress(BudgetAway, Fenced):
            while self._epoch:
                self._shares.close_all()
                if not await self._beat(also=0):
                    break

    def problems(self) -> list[str]:
        return [f"fenced: another gateway runs as {self._instance!r}"] if self.is_fenced else []

    def unready(self) -> list[str]:
        return [] if self._epoch else ["no epoch: the budget service has not answered yet"]

    def unheard(self) -> list[Question]:
        """Openings whose answer was lost: the service may hold shares for them that this gateway does not know of, and
        would neither spend nor return. Asked again, they answer what there is."""
        return list(self._unheard.values())[:ASKS_MAX]

    async def obtain(self, question: Question) -> Learnt | None:
        """Ask; None if somebody else's answer is worth a try.

        Raises UnknownKey, BudgetAway, Fenced.
        """
        if self.is_fenced:
            raise Fenced("a newer process has claimed this gateway's name")
        flight = _Flight(question, self._clock.monotonic())
        if other := next((self._flights[key] for key in flight.keys if key in self._flights), None):
            await self._wait(other, question)
            return None
        if not self._epoch or flight.asked_at < self._away_until:
            raise BudgetAway("the budget service is away")
        self._start(flight)
        return await asyncio.shield(flight.done)

    def renew(self, question: Question) -> None:
        """Ask ahead of need, in the background. Never takes what is needed elsewhere: its least is nothing."""
        self._spawn(self._quietly(question))

    async def _quietly(self, question: Question) -> None:
        try:
            await self.obtain(question)
        except (UnknownKey, BudgetAway, Fenced) as error:
            log.debug("renewal_failed", error=str(error))

    async def _wait(self, flight: _Flight, question: Question) -> None:
        """For the end of another question, whatever it is. What this one needs is asked for with the next."""
        for each in question.raises:
            self._waiting[each.window.key] += each.need
        try:
            await asyncio.wait([flight.done])
        finally:
            for each in question.raises:
                self._waiting[each.window.key] -= each.need
                if not self._waiting[each.window.key]:
                    del self._waiting[each.window.key]
        error = flight.done.exception()
        if isinstance(error, (BudgetAway, Fenced)):
            raise error
        if isinstance(error, UnknownKey) and flight.question.key_hash == question.key_hash:
            raise error

    def _start(self, flight: _Flight) -> None:
        for key in flight.keys:
            self._flights[key] = flight
        self._queue.append(flight)
        if self._senders < SENDERS_MAX:
            self._senders += 1
            self._spawn(self._send_all())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_all(self) -> None:
        """Until nothing is left to ask. Begins a turn of the loop after the first ask, so that others join it."""
        batch: list[_Flight] = []
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(ASKS_MAX, len(self._queue)))]
                await self._send(batch)
        finally:
            self._senders -= 1
            for flight in batch:
                if not flight.done.done():
                    self._lost(flight.question)
                    self._end(flight, BudgetAway("the process is stopping"))

    async def _send(self, batch: Sequence[_Flight]) -> None:
        now = self._clock.monotonic()
        keys = [each.window.key for flight in batch for each in flight.question.raises]
        reports = self._shares.reports(REPORTS_WITH_RAISE_MAX, within=keys)
        request = RaiseRequest(
            gateway_id=self._instance,
            epoch=self._epoch,
            asks=tuple(self._wire(flight.question, now) for flight in batch),
            reports=tuple(report.wire for report in reports),
        )
        try:
            with metrics.RAISE_SECONDS.time():
                answer = await self._service.raise_shares(request)
            faults.point("gateway.after_raise")
        except (BudgetAway, Fenced) as error:
            self._failed(error)
            for flight in batch:
                self._lost(flight.question)
                self._end(flight, error)
            return
        self._shares.acknowledge(reports)
        metrics.BUDGET_REACHABLE.set(1)
        for flight, each in zip(batch, answer.answers, strict=True):
            self._end(flight, self._learn(flight, each))

    def _wire(self, question: Question, now: float) -> WireAsk:
        windows = []
        for each in question.raises:
            need = each.need + self._waiting[each.window.key]
            least, needed, want = self._shares.wanted(each.window, least=each.least, need=need, now=now)
            windows.append(
                WindowAsk(
                    budget_id=each.window.key.budget_id,
                    window_start=each.window.key.start,
                    least=least,
                    need=needed,
                    want=max(needed, want),
                )
            )
        return WireAsk(key_hash=question.key_hash, opening=question.opening, windows=tuple(windows))

    def _lost(self, question: Question) -> None:
        """Its answer may have granted something."""
        self._shares.doubt((each.window for each in question.raises), self._clock.monotonic())
        if question.opening is not None:
            self._unheard[question.key_hash] = question

    def _learn(self, flight: _Flight, answer: Answer) -> "Learnt | UnknownKey":
        key_hash = flight.question.key_hash
        self._unheard.pop(key_hash, None)
        if answer.policy is None:
            self._policies.forget(key_hash, flight.asked_at)
            metrics.RAISES.labels("unknown_key").inc()
            return UnknownKey("the API key is not valid")
        key_policy = self._policies.learn(key_hash, answer.policy, asked_at=flight.asked_at)
        windows = {budget.window.key: budget.window for budget in key_policy.budgets}
        now = self._clock.monotonic()
        for present in windows.values():
            self._shares.lasts(present)
        for total in answer.shares:
            key = WindowKey(total.budget_id, total.window_start)
            if window := windows.get(key):
                self._shares.granted(window, total.granted, now)
            else:
                self._shares.total(key, total.granted)
        metrics.RAISES.labels("refused" if answer.refusal else "raised" if answer.shares else "nothing_to_hold").inc()
        return Learnt(key_policy, answer.refusal)

    def _end(self, flight: _Flight, result: "Learnt | Exception") -> None:
        if flight.done.done():
            return
        for key in flight.keys:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if isinstance(result, Exception):
            flight.done.set_exception(result)
            flight.done.exception()  # seen, also if nobody waits
        else:
            flight.done.set_result(result)

    async def _claim(self, recovered: Recovered) -> None:
        """Say what the epoch before spent, and take a new one."""
        attempt = 0
        while True:
            try:
                said_at = self._clock.monotonic()
                epoch = await self._said(recovered)
                faults.point("gateway.after_start")
                self._journal.epoch(epoch)
            except (BudgetAway, JournalFull, Fenced) as error:
                attempt += 1
                log.warning("no_epoch_yet", attempt=attempt, error=str(error))
                metrics.BUDGET_REACHABLE.set(0)
                await asyncio.sleep(RETRY.jittered_s(attempt))
            else:
                self._epoch = epoch
                self._answered_at = said_at
                metrics.BUDGET_REACHABLE.set(1)
                log.info("epoch_claimed", epoch=epoch, whole=recovered.is_whole, windows=len(recovered.spent))
                return

    async def _said(self, recovered: Recovered) -> int:
        """A start, in as many messages as it needs; the epoch."""
        epoch = 0
        for request in start_requests(recovered, gateway_id=self._instance, process_id=self._process_id):
            asked_at = self._clock.monotonic()
            answer = await self._service.start(request)
            epoch = answer.epoch
            if answer.now is not None:
                self._clock.heard(answer.now, asked_at)
        return epoch

    async def _beat(self, *, also: int) -> int:
        """One beat; returns the number of shares it reported."""
        reports, sent_at = self._shares.reports(REPORTS_MAX, also=also), self._clock.monotonic()
        beat = Beat(
            gateway_id=self._instance,
            epoch=self._epoch,
            last_record=self._journal.last_record,
            policy_revision=self._policy_revision,
            reports=tuple(report.wire for report in reports),
        )
        try:
            answer = await self._service.beat(beat)
        except (BudgetAway, Fenced) as error:
            self._failed(error)
            raise
        self._answered_at = sent_at  # the service may have heard it as early as that
        if answer.now is not None:
            self._clock.heard(answer.now, sent_at)
        self._heard(reports, answer)
        return len(reports)

    def _heard(self, reports: Sequence[Report], answer: BeatAnswer) -> None:
        now = self._clock.monotonic()
        self._away_until = 0.0
        self._shares.acknowledge(reports)
        wanted = {WindowKey(each.budget_id, each.window_start) for each in answer.recalled}
        for total in answer.shares:
            key = WindowKey(total.budget_id, total.window_start)
            if key in wanted:
                self._shares.recalled(key, total.measure, total.granted, now)
            else:
                self._shares.total(key, total.granted)
        for account in answer.changed or ():
            self._policies.outdated(account, now)
        if answer.changed is None:
            self._policies.all_changed(now)
        self._policy_revision = answer.policy_revision
        if answer.recalled:
            self._shares.recall(wanted)
            self._beat_now.set()
        metrics.BUDGET_REACHABLE.set(1)
        metrics.SHARES.set(len(self._shares))
        metrics.POLICIES.set(len(self._policies))

    def _failed(self, error: BudgetAway | Fenced) -> None:
        metrics.BUDGET_REACHABLE.set(0)
        if isinstance(error, Fenced):
            self.is_fenced = True
        else:
            if not self._away_until:
                log.warning("budget_service_away", error=str(error))
            self._away_until = self._clock.monotonic() + AWAY_FOR_S
