"""The shell around `leases`: claims an epoch, asks for grants (one at a time for each pool), beats once a second."""

import asyncio
import contextlib
from collections.abc import Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from farebox import faults
from farebox.clock import Clock
from farebox.ids import new_id
from farebox.kafka.backoff import Backoff
from farebox.leasing import (
    Attributes,
    GrantAnswer,
    GrantRequest,
    Heartbeat,
    LeaseReport,
    Need,
    Refusal,
    StartRequest,
)
from gateway import metrics
from gateway.admission.estimate import NOTHING, Amount, Estimate
from gateway.budget_link.service import LeaseService
from gateway.budget_link.unanswered import Unanswered
from gateway.errors import BudgetAway, Fenced, JournalFull, UnknownKey
from gateway.journal.journal import Journal, Recovered
from gateway.policy.policies import Known, Narrowing, Policies
from gateway.shares.leases import Leases, PoolKey, Total, amounts

log = structlog.get_logger()

BEAT_S: Final = 1.0
FORGET_EVERY_S: Final = 30.0
REPORTS_MAX: Final = 2_000
"""Reports in one message: about 400 kB."""
REPORTS_WITH_GRANT_MAX: Final = 100
AWAY_FOR_S: Final = 0.5
"""After a call failed nobody tries again for so long, so that calls fail at once instead of queueing for a timeout."""
RETRY: Final = Backoff(base_s=0.2, cap_s=5.0)


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that needs a grant. `known` is None for a key never seen; then the answer brings its policy."""

    key_hash: str
    attributes: Narrowing
    known: Known | None
    pool: PoolKey | None
    least: Estimate | None
    need: Estimate | None


@dataclass(frozen=True, slots=True)
class Answer:
    """`known` is the policy just learnt; `refusal` names the budget that cannot carry the least."""

    known: Known
    refusal: Refusal | None


@dataclass(slots=True, eq=False)
class _Flight:
    """A question under way. Calls that come meanwhile wait for its answer instead of asking too."""

    key_hash: str
    least: Amount
    done: "asyncio.Future[Answer]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    waiting: int = 0


class LeaseClient:
    """`run` keeps the gateway in touch with the budget service until it is cancelled."""

    def __init__(
        self,
        service: LeaseService,
        *,
        instance: str,
        leases: Leases,
        policies: Policies,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._service = service
        self._instance = instance
        self._leases = leases
        self._policies = policies
        self._journal = journal
        self._clock = clock
        self._epoch = 0
        self._is_fenced = False
        self._away_until = 0.0
        self._flights: dict[Hashable, _Flight] = {}
        self._unanswered = Unanswered()
        self._waiting: dict[Hashable, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat_now = asyncio.Event()

    async def run(self) -> None:
        """Claim an epoch, for as long as it takes, then report every BEAT_S."""
        await self._claim(self._journal.recovered)
        forget_at = self._clock.monotonic() + FORGET_EVERY_S
        while not self._is_fenced:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._beat_now.wait(), BEAT_S)
            self._beat_now.clear()
            now = self._clock.monotonic()
            self._leases.tick(now)
            if now >= forget_at:
                self._policies.tick(now)
                forget_at = now + FORGET_EVERY_S
            with contextlib.suppress(BudgetAway, Fenced):
                await self._beat()
        log.error("fenced", instance=self._instance)

    async def stop(self) -> None:
        """Give everything back."""
        for task in tuple(self._tasks):
            task.cancel()
        self._leases.close_all()
        with contextlib.suppress(BudgetAway, Fenced):
            while self._epoch and await self._beat():
                pass

    def problems(self) -> list[str]:
        return [f"fenced: another gateway runs as {self._instance!r}"] if self._is_fenced else []

    def unready(self) -> list[str]:
        return [] if self._epoch else ["no epoch: the budget service has not answered yet"]

    async def obtain(self, ask: Ask) -> Answer | None:
        """Policy and, if the ask has a need, a lease that may cover it; None if somebody else's answer is worth a try.

        Raises UnknownKey, BudgetAway, Fenced, JournalFull.
        """
        key: Hashable = ask.pool if ask.pool and ask.pool[1] else ask.key_hash
        least = ask.least.amount if ask.least else NOTHING
        if flight := self._flights.get(key):
            flight.waiting += 1
            try:
                answer = await asyncio.shield(flight.done)
            except UnknownKey:
                if flight.key_hash != ask.key_hash:  # another key of the same budgets
                    return None
                raise
            return answer if ask.pool and answer.refusal and flight.least.within(least) else None
        flight = self._flights[key] = _Flight(ask.key_hash, least)
        try:
            answer = await self._asked(ask, key)
        except BaseException as error:
            shared = error if isinstance(error, Exception) else BudgetAway("the process is stopping")
            flight.done.set_exception(shared)
            flight.done.exception()  # seen, also if nobody waits
            raise
        else:
            flight.done.set_result(answer)
            return answer
        finally:
            del self._flights[key]
            self._waiting[key] = flight.waiting

    def renew(self, ask: Ask) -> None:
        """Ask ahead of need, in the background. Never takes what is needed elsewhere: its least is nothing."""
        if ask.pool not in self._flights and ask.key_hash not in self._flights:
            self._spawn(self._quietly(ask))

    async def _quietly(self, ask: Ask) -> None:
        try:
            await self.obtain(ask)
        except (UnknownKey, BudgetAway, Fenced, JournalFull) as error:
            log.debug("renewal_failed", error=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _asked(self, ask: Ask, key: Hashable) -> Answer:
        now = self._clock.monotonic()
        if self._is_fenced:
            raise Fenced("a newer process has claimed this gateway's name")
        if not self._epoch or now < self._away_until:
            raise BudgetAway("the budget service is away")
        if ask.need and (problems := self._journal.problems()):
            raise JournalFull(problems[0])  # a lease that cannot be written down is of no use
        if ask.pool and ask.need and ask.least:
            self._leases.close_small(ask.pool, ask.need.amount)
        answer = await self._once(ask, key)
        if answer.refusal and self._leases.close_others(
            answer.known.hard_pool(ask.attributes), [budget.id for budget in answer.known.budgets if budget.is_hard]
        ):
            answer = await self._once(ask, key)
        return answer

    async def _once(self, ask: Ask, key: Hashable) -> Answer:
        asked_at = self._clock.monotonic()
        reports = self._leases.reports(REPORTS_WITH_GRANT_MAX, within=ask.pool)
        lease_id = self._unanswered.again(key) or new_id()
        request = GrantRequest(
            gateway_id=self._instance,
            epoch=self._epoch,
            lease_id=lease_id,
            key_hash=ask.key_hash,
            attributes=_attributes(ask.attributes),
            least=_need(ask.least),
            need=_need(ask.need if ask.least else None),
            want=self._want(ask, key, asked_at),
            reports=tuple(report.wire for report in reports),
        )
        try:
            with metrics.GRANT_SECONDS.time():
                answer = await self._service.grant(request)
            faults.point("gateway.after_grant")
        except UnknownKey:
            self._policies.forget(ask.key_hash, asked_at)
            metrics.GRANTS.labels("unknown_key").inc()
            raise
        except (BudgetAway, Fenced) as error:
            self._unanswered.add(key, lease_id, asked_at)
            self._failed(error)
            raise
        self._leases.acknowledge(reports)
        metrics.BUDGET_REACHABLE.set(1)
        return self._learn(ask, answer, asked_at)

    def _learn(self, ask: Ask, answer: GrantAnswer, asked_at: float) -> Answer:
        known = self._policies.learn(ask.key_hash, answer.policy, asked_at=asked_at)
        label = "refused" if answer.refusal else "granted" if answer.lease else "nothing_to_hold"
        metrics.GRANTS.labels(label).inc()
        if answer.lease is not None:
            lease = self._leases.add(known.hard_pool(ask.attributes), answer.lease, self._clock.monotonic())
            if lease is not None:
                try:
                    self._journal.lease(Total(lease.id, lease.shares, lease.spent))
                    faults.point("gateway.after_lease")
                except JournalFull:
                    self._leases.recall([lease.id])
                    raise
        return Answer(known, answer.refusal)

    def _want(self, ask: Ask, key: Hashable, now: float) -> Need:
        need = ask.need
        if need is None:
            return _need(None)
        waiting = self._waiting.pop(key, 0)
        pool = ask.pool or ("", ())
        want = self._leases.want(pool, need.amount, now, waiting=waiting)
        cost = need.cost_nano_usd * want.money // need.amount.money if need.amount.money else need.cost_nano_usd
        return Need(cost_nano_usd=max(cost, need.cost_nano_usd), requests=want.requests, tokens=want.tokens)

    async def _claim(self, recovered: Recovered) -> None:
        """Report the leases of the last process and take a new epoch. A journal with holes reports nothing."""
        reports = [closing(total) for total in recovered.leases] if recovered.is_whole else []
        last_epoch = recovered.epoch if recovered.is_whole else 0
        attempt = 0
        while True:
            try:
                await self._report_early(reports, last_epoch)
                answer = await self._service.start(
                    StartRequest(gateway_id=self._instance, last_epoch=last_epoch, reports=tuple(reports))
                )
                faults.point("gateway.after_start")
                self._journal.epoch(answer.epoch)
            except (BudgetAway, JournalFull, Fenced) as error:
                attempt += 1
                log.warning("no_epoch_yet", attempt=attempt, error=str(error))
                metrics.BUDGET_REACHABLE.set(0)
                await asyncio.sleep(RETRY.jittered_s(attempt))
            else:
                self._epoch = answer.epoch
                metrics.BUDGET_REACHABLE.set(1)
                log.info("epoch_claimed", epoch=answer.epoch, old_leases=len(recovered.leases))
                return

    async def _report_early(self, reports: list[LeaseReport], last_epoch: int) -> None:
        """Send what one message cannot hold as heartbeats of the old epoch, and leave the rest in the list."""
        while len(reports) > REPORTS_MAX:
            part = tuple(reports[:REPORTS_MAX])
            with contextlib.suppress(Fenced):  # then the service has a newer epoch, and suspends what is not reported
                await self._service.heartbeat(
                    Heartbeat(gateway_id=self._instance, epoch=max(1, last_epoch), reports=part)
                )
            del reports[:REPORTS_MAX]

    async def _beat(self) -> int:
        """One heartbeat; returns the number of leases it reported."""
        reports = self._leases.reports(REPORTS_MAX)
        beat = Heartbeat(
            gateway_id=self._instance,
            epoch=self._epoch,
            reports=tuple(report.wire for report in reports),
            given_up=self._unanswered.given_up(self._clock.monotonic()),
        )
        try:
            answer = await self._service.heartbeat(beat)
        except (BudgetAway, Fenced) as error:
            self._failed(error)
            raise
        self._away_until = 0.0
        metrics.BUDGET_REACHABLE.set(1)
        self._leases.acknowledge(reports)
        metrics.LEASES.set(len(self._leases))
        metrics.POLICIES.set(len(self._policies))
        if answer.recalled:
            self._leases.recall(answer.recalled)
            self._beat_now.set()
        return len(reports)

    def _failed(self, error: BudgetAway | Fenced) -> None:
        metrics.BUDGET_REACHABLE.set(0)
        if isinstance(error, Fenced):
            self._is_fenced = True
        else:
            if not self._away_until:
                log.warning("budget_service_away", error=str(error))
            self._away_until = self._clock.monotonic() + AWAY_FOR_S


def closing(total: Total) -> LeaseReport:
    """The last word about a lease of a process that is no more: what it did not spend, it returns."""
    returned = {share.budget_id: max(0, share.granted - total.spent[share.measure]) for share in total.shares}
    return LeaseReport(lease_id=total.lease_id, spent=amounts(total.spent), returned=returned)


def _need(estimate: Estimate | None) -> Need:
    if estimate is None:
        return Need(cost_nano_usd=0, requests=0, tokens=0)
    amount = estimate.amount
    return Need(cost_nano_usd=estimate.cost_nano_usd, requests=amount.requests, tokens=amount.tokens)


def _attributes(narrowing: Narrowing) -> Attributes:
    provider, model, feature, session = narrowing
    return Attributes(provider=provider, model=model, feature=feature, session=session)
