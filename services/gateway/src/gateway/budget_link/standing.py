"""Where this process stands with the budget service: its epoch, and whether it may still admit by it."""

from typing import Final

import structlog

from farebox.clock import Clock
from gateway import metrics
from gateway.attempts.event import GatewayEpoch
from gateway.errors import BudgetAway, Fenced

log = structlog.get_logger()

SILENT_S: Final = 300.0
"""Without an answered beat for so long, nothing is admitted under hard budgets: an operator may release our shares."""
AWAY_FOR_S: Final = 0.5
"""After a call failed nobody tries again for so long, so that calls fail at once instead of queueing for a timeout."""


class Standing:
    """`is_fenced` once a newer process has claimed this gateway's name: nothing may be admitted any more."""

    def __init__(self, instance: str, clock: Clock) -> None:
        self._clock = clock
        self._answered_at = 0.0
        self._away_until = 0.0
        self.epoch = GatewayEpoch(instance, 0)
        self.is_fenced = False

    @property
    def is_away(self) -> bool:
        """Whether the budget service cannot be asked, or could not a moment ago."""
        return not self.epoch.epoch or self._clock.monotonic() < self._away_until

    def is_silent(self, now: float) -> bool:
        """Whether the service has not answered for so long that it may have given our shares to others."""
        return now - self._answered_at >= SILENT_S

    def claimed(self, epoch: int, asked_at: float) -> None:
        self.epoch = self.epoch._replace(epoch=epoch)
        self.answered(asked_at)

    def answered(self, asked_at: float) -> None:
        """A start or a beat: the service may have heard it as early as it was sent."""
        self._answered_at = asked_at
        self._away_until = 0.0
        metrics.BUDGET_REACHABLE.set(1)

    def failed(self, error: BudgetAway | Fenced) -> None:
        """A raise or a beat had no useful answer."""
        metrics.BUDGET_REACHABLE.set(0)
        if isinstance(error, Fenced):
            self.is_fenced = True
        else:
            if not self._away_until:
                log.warning("budget_service_away", error=str(error))
            self._away_until = self._clock.monotonic() + AWAY_FOR_S

    def problems(self) -> list[str]:
        return [f"fenced: another gateway runs as {self.epoch.gateway_id!r}"] if self.is_fenced else []

    def unready(self) -> list[str]:
        return [] if self.epoch.epoch else ["no epoch: the budget service has not answered yet"]
