"""Questions to the budget service: keys whose policy is not known, and windows that are short.

Of one window one raise is under way at a time; calls that come meanwhile wait for it and ask for their sum. Asks that
come together travel in one message.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from farebox import faults
from farebox.clock import Clock
from farebox.shares import Answer, Opening, RaiseRefusal, RaiseRequest, WindowAsk
from farebox.shares import Ask as WireAsk
from gateway import metrics
from gateway.budget_link.service import ShareService
from gateway.budget_link.standing import Standing
from gateway.errors import BudgetAway, Fenced, UnknownKey
from gateway.policy.policies import KeyPolicy, Policies
from gateway.shares.shares import Shares, Window, WindowKey

log = structlog.get_logger()

REPORTS_WITH_RAISE_MAX: Final = 100
ASKS_MAX: Final = 100
SENDERS_MAX: Final = 2
"""Messages with asks under way at a time: while they are, further asks gather."""


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
    """`key_policy` has just been learnt; `refusal` names the budget that cannot carry the least."""

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


class Questions:
    """Asks for what calls lack, and learns from the answers."""

    def __init__(
        self, service: ShareService, *, standing: Standing, shares: Shares, policies: Policies, clock: Clock
    ) -> None:
        self._service = service
        self._standing = standing
        self._shares = shares
        self._policies = policies
        self._clock = clock
        self._flights: dict[Hashable, _Flight] = {}
        self._queue: deque[_Flight] = deque()
        self._waiting: Counter[WindowKey] = Counter()
        self._unheard: dict[str, Question] = {}
        self._senders = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def obtain(self, question: Question) -> Learnt | None:
        """Ask; None if somebody else's answer is worth a try.

        Raises UnknownKey, BudgetAway, Fenced.
        """
        if self._standing.is_fenced:
            raise Fenced("a newer process has claimed this gateway's name")
        flight = _Flight(question, self._clock.monotonic())
        if other := next((self._flights[key] for key in flight.keys if key in self._flights), None):
            await self._wait(other, question)
            return None
        if self._standing.is_away:
            raise BudgetAway("the budget service is away")
        self._start(flight)
        return await asyncio.shield(flight.done)

    def renew(self, question: Question) -> None:
        """Ask ahead of need, in the background. Never takes what is needed elsewhere: its least is nothing."""
        self._spawn(self._quietly(question))

    def unheard(self) -> list[Question]:
        """Openings whose answer was lost: the service may hold shares for them that this gateway does not know of, and
        would neither spend nor return. Asked again, they answer what there is."""
        return list(self._unheard.values())[:ASKS_MAX]

    async def stop(self) -> None:
        """Ask nothing more, but for what an answer that was lost may have given."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._standing.epoch.epoch and (unheard := self.unheard()):
            await self._send([_Flight(question, self._clock.monotonic()) for question in unheard])

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
        epoch = self._standing.epoch
        request = RaiseRequest(
            gateway_id=epoch.gateway_id,
            epoch=epoch.epoch,
            asks=tuple(self._wire(flight.question, now) for flight in batch),
            reports=tuple(report.wire for report in reports),
        )
        try:
            with metrics.RAISE_SECONDS.time():
                answer = await self._service.raise_shares(request)
            faults.point("gateway.after_raise")
        except (BudgetAway, Fenced) as error:
            self._standing.failed(error)
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
