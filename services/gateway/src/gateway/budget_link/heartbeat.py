"""The beat: once a second a gateway tells the budget service its totals and hears the service's.

Before the first one it claims an epoch; with the last ones it gives everything back.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import structlog

from farebox import faults
from farebox.ids import new_id
from farebox.kafka.backoff import Backoff
from farebox.shares import Beat, BeatAnswer
from gateway import metrics
from gateway.budget_link.books_clock import BooksClock
from gateway.budget_link.questions import Questions
from gateway.budget_link.service import ShareService
from gateway.budget_link.standing import Standing
from gateway.budget_link.start import start_requests
from gateway.errors import BudgetAway, Fenced, JournalFull
from gateway.journal.journal import Journal, Recovered
from gateway.policy.policies import Policies
from gateway.shares.shares import Report, Shares, WindowKey

log = structlog.get_logger()

BEAT_S: Final = 1.0
FORGET_EVERY_S: Final = 30.0
REPORTS_MAX: Final = 2_000
"""Shares with news in one beat: about 400 kB."""
IN_TURN: Final = 100
"""Other shares in one beat, so that the service hears of all of them now and then."""
RETRY: Final = Backoff(base_s=0.2, cap_s=5.0)


class Heartbeat:
    """`run` keeps the gateway in touch with the budget service until it is cancelled."""

    def __init__(
        self,
        service: ShareService,
        *,
        standing: Standing,
        questions: Questions,
        shares: Shares,
        policies: Policies,
        journal: Journal,
        clock: BooksClock,
    ) -> None:
        self._service = service
        self._standing = standing
        self._questions = questions
        self._shares = shares
        self._policies = policies
        self._journal = journal
        self._clock = clock
        self._process_id = new_id()
        self._policy_revision = 0
        self._beat_now = asyncio.Event()

    async def run(self) -> None:
        """Claim an epoch, for as long as it takes, then beat every BEAT_S."""
        await self._claim(self._journal.recovered)
        forget_at = self._clock.monotonic() + FORGET_EVERY_S
        while not self._standing.is_fenced:
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
                for question in self._questions.unheard():
                    self._questions.renew(question)
        log.error("fenced", instance=self._standing.epoch.gateway_id)

    async def stop(self) -> None:
        """Give everything back."""
        await self._questions.stop()
        with contextlib.suppress(BudgetAway, Fenced):
            while self._standing.epoch.epoch:
                self._shares.close_all()
                if not await self._beat(also=0):
                    break

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
                self._standing.claimed(epoch, said_at)
                log.info("epoch_claimed", epoch=epoch, whole=recovered.is_whole, windows=len(recovered.spent))
                return

    async def _said(self, recovered: Recovered) -> int:
        """A start, in as many messages as it needs; the epoch."""
        epoch = 0
        for request in start_requests(
            recovered, gateway_id=self._standing.epoch.gateway_id, process_id=self._process_id
        ):
            asked_at = self._clock.monotonic()
            answer = await self._service.start(request)
            epoch = answer.epoch
            if answer.now is not None:
                self._clock.heard(answer.now, asked_at)
        return epoch

    async def _beat(self, *, also: int) -> int:
        """One beat; returns the number of shares it reported."""
        reports, sent_at = self._shares.reports(REPORTS_MAX, also=also), self._clock.monotonic()
        epoch = self._standing.epoch
        beat = Beat(
            gateway_id=epoch.gateway_id,
            epoch=epoch.epoch,
            last_record=self._journal.last_record,
            policy_revision=self._policy_revision,
            reports=tuple(report.wire for report in reports),
        )
        try:
            answer = await self._service.beat(beat)
        except (BudgetAway, Fenced) as error:
            self._standing.failed(error)
            raise
        self._standing.answered(sent_at)
        if answer.now is not None:
            self._clock.heard(answer.now, sent_at)
        self._heard(reports, answer)
        return len(reports)

    def _heard(self, reports: Sequence[Report], answer: BeatAnswer) -> None:
        now = self._clock.monotonic()
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
        if answer.changed is None or answer.policy_revision < self._policy_revision:  # the database was set back
            self._policies.all_changed(now)
        self._policy_revision = answer.policy_revision
        if answer.recalled:
            self._shares.recall(wanted)
            self._beat_now.set()
        metrics.SHARES.set(len(self._shares))
        metrics.POLICIES.set(len(self._policies))
