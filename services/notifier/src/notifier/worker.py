"""Sends what is due: claims deliveries, makes attempts side by side, records what they came to.

At least once: a claim ends by itself, so what a killed replica had in hand is taken over. Never twice at the same
time: an attempt is cut off before its claim ends. A slow receiver has few slots and holds up nobody else.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self
from uuid import UUID

import structlog

from farebox import faults
from farebox.clock import Clock
from farebox.errors import Transient
from notifier import metrics
from notifier.channel import Kind
from notifier.delivery import DeliveryResult, Job, Sender, State, Step, Verdict, step_after
from notifier.retry import Schedule
from notifier.store import Store

log = structlog.get_logger()

POLL_S: Final = 0.5
"""Due retries, and work of other replicas, are found within this time; work of this process at once."""
BACKLOG_EVERY_S: Final = 5.0
STORE_RETRY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds on what one process does: an attempt's time, a claim's (longer), and attempts side by side."""

    timeout_s: float
    lease_s: float
    slots: int = 128
    slots_per_channel: int = 4


class Worker:
    """Delivers until it is left; leaving waits for attempts under way, which are bounded in time."""

    def __init__(
        self,
        store: Store,
        senders: Mapping[Kind, Sender],
        schedules: Mapping[Kind, Schedule],
        *,
        clock: Clock,
        instance: str,
        pace: Pace,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._senders = senders
        self._schedules = schedules
        self._clock = clock
        self._instance = instance
        self._pace = pace
        self._chance = chance
        self._due = asyncio.Event()
        self._in_flight: dict[asyncio.Task[None], UUID] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loops = {"worker": self._claim_forever(), "backlog": self._measure_forever()}
        self._tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self._in_flight:
            await asyncio.wait(list(self._in_flight))

    def wake(self) -> None:
        """Look for due deliveries now: some have just been committed."""
        self._due.set()

    def problems(self) -> list[str]:
        """What only a restart can mend."""
        return [f"{task.get_name()}: its task has ended" for task in self._tasks if task.done()]

    async def _claim_forever(self) -> None:
        while True:
            self._due.clear()
            with _surviving("claim_failed"):
                await self._claim()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._due.wait()

    async def _claim(self) -> None:
        free = self._pace.slots - len(self._in_flight)
        if free <= 0:
            return
        claimed_at = self._clock.monotonic()
        jobs = await self._store.claim(
            busy=Counter(self._in_flight.values()),
            per_channel=self._pace.slots_per_channel,
            limit=free,
            lease=timedelta(seconds=self._pace.lease_s),
            instance=self._instance,
        )
        for job in jobs:
            task = asyncio.create_task(self._deliver(job, claimed_at), name=f"delivery {job.delivery_id}")
            self._in_flight[task] = job.channel_id
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        self._due.set()  # its slot is free, and there may be more for it

    async def _deliver(self, job: Job, claimed_at: float) -> None:
        kind = job.kind.value
        if job.number == 1:
            waited = self._clock.now() - job.occurred_at
            metrics.FIRST_ATTEMPT_SECONDS.labels(kind).observe(max(waited.total_seconds(), 0.0))
        begun_at = self._clock.monotonic()
        with metrics.IN_FLIGHT.labels(kind).track_inprogress():
            faults.point("notifier.after_claim")
            outcome = await self._attempt(job)
            faults.point("notifier.after_send")
        duration_s = self._clock.monotonic() - begun_at
        step = step_after(outcome, attempts=job.number, schedule=self._schedules[job.kind], jitter=self._chance())
        metrics.ATTEMPTS.labels(kind, outcome.verdict.value).inc()
        metrics.ATTEMPT_SECONDS.labels(kind).observe(duration_s)
        await self._record(job, outcome, step, duration_s, until=claimed_at + self._pace.lease_s)

    async def _attempt(self, job: Job) -> DeliveryResult:
        try:
            async with asyncio.timeout(self._pace.timeout_s):
                return await self._senders[job.kind].send(job)
        except TimeoutError:
            return DeliveryResult(Verdict.RETRY, error="timeout")
        except Exception as error:
            log.error("attempt_failed", delivery=str(job.delivery_id), error=repr(error), exc_info=error)
            return DeliveryResult(Verdict.RETRY, error="internal_error")

    async def _record(self, job: Job, outcome: DeliveryResult, step: Step, duration_s: float, *, until: float) -> None:
        """Store the result, trying again while the claim lasts; afterwards the delivery is due again anyway."""
        while True:
            try:
                held = await self._store.finish(job, outcome, step, round(duration_s * 1000))
            except Transient as error:
                metrics.STORE_FAILURES.inc()
                log.warning("result_not_stored", delivery=str(job.delivery_id), error=str(error))
                if self._clock.monotonic() > until:
                    return
                await asyncio.sleep(STORE_RETRY_S)
            else:
                break
        self._report(job, outcome, step, held=held)

    def _report(self, job: Job, outcome: DeliveryResult, step: Step, *, held: bool) -> None:
        if not held:
            metrics.OVERTAKEN.inc()
        elif step.state is not State.PENDING:
            metrics.DELIVERIES.labels(job.kind.value, step.state.value).inc()
        if step.disables_channel:
            metrics.CHANNELS_DISABLED.inc()
        log.info(
            "attempt_ended",
            delivery=str(job.delivery_id),
            channel=str(job.channel_id),
            number=job.number,
            verdict=outcome.verdict.value,
            status=outcome.status,
            error=outcome.error,
            state=step.state.value,
        )

    async def _measure_forever(self) -> None:
        while True:
            with _surviving("backlog_not_measured"):
                await self._measure()
            await asyncio.sleep(BACKLOG_EVERY_S)

    async def _measure(self) -> None:
        backlog = await self._store.backlog()
        for kind in Kind:
            due, oldest_s = backlog.get(kind, (0, 0.0))
            metrics.BACKLOG.labels(kind.value).set(due)
            metrics.OLDEST_DUE_SECONDS.labels(kind.value).set(max(oldest_s, 0.0))


@contextlib.contextmanager
def _surviving(event: str) -> Iterator[None]:
    """Whatever goes wrong with the store, the loop goes on: the next round may find it mended."""
    try:
        yield
    except Transient as error:
        metrics.STORE_FAILURES.inc()
        log.warning(event, error=str(error))
    except Exception as error:
        metrics.STORE_FAILURES.inc()
        log.error(event, error=repr(error), exc_info=error)
