"""A budget as the harness ordered it: what it counts, from when to when it must hold, and under which limit. Pure.

Instants are monotonic seconds of the run.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chaos.tariff import ALWAYS, NEVER

SETTLE_S: Final = 30.0
"""A budget that was made, made hard or switched on during the run is guaranteed from so long afterwards."""
MIDNIGHT_S: Final = 6.0
"""A share of the day before may have been understood to end so much later: its answer was that long on its way."""
PAUSED: Final = "paused"


class Target(NamedTuple):
    """What a call is for. In a budget's narrowing None is any."""

    provider: str | None = None
    model: str | None = None
    feature: str | None = None


ANY: Final = Target()


class Midnight(NamedTuple):
    """A zone, and when its day ends during the run."""

    zone: str
    at: float


@dataclass(slots=True)
class Phase:
    """A mode, or PAUSED: asked for at one instant, known to be in force from another on."""

    mode: str
    asked_at: float = ALWAYS
    done_at: float = ALWAYS


@dataclass(slots=True, eq=False)
class Budget:
    """`limits` by revision, from 1; in nano-units, or counts. `midnights` end its windows during the run."""

    budget_id: str
    account: str
    measure: str
    mode: str
    thresholds: tuple[int, ...]
    limits: dict[int, int]
    lowest_in_force: int
    """The lower of the limits in force and on its way, while a change is under way."""
    narrowed_to: Target = ANY
    midnights: tuple[float, ...] = ()
    phases: list[Phase] = field(default_factory=list)
    asked: list[tuple[float, int]] = field(default_factory=list)
    """Limits that were asked for during the run, each with the instant from which it may be in force."""

    def __post_init__(self) -> None:
        if not self.phases:
            self.phases.append(Phase(self.mode))

    @property
    def newest_limit(self) -> int:
        return self.limits[max(self.limits)]

    @property
    def is_ever_hard(self) -> bool:
        return any(phase.mode == "hard" for phase in self.phases)

    @property
    def is_switched(self) -> bool:
        """Whether it was made or switched during the run."""
        return len(self.phases) > 1 or self.phases[0].asked_at > ALWAYS

    def counts(self, target: Target) -> bool:
        return all(want is None or want == has for want, has in zip(self.narrowed_to, target, strict=True))

    def highest_limit(self, until: float) -> int:
        """The highest limit that may have been in force up to then."""
        return max([self.limits[1], *(limit for at, limit in self.asked if at <= until)])

    def is_guaranteed(self, at: float) -> bool:
        """Whether it must hold for calls admitted at that time."""
        phase = self._phase(at)
        return phase is not None and phase.mode == "hard" and phase.done_at + SETTLE_S <= at

    def may_refuse(self, since: float, until: float) -> bool:
        """Whether it may have been hard at some time of the span, by anybody's knowledge."""
        ends = [phase.done_at + SETTLE_S for phase in self.phases[1:]] + [NEVER]
        return any(
            phase.mode == "hard" and phase.asked_at <= until and since <= end
            for phase, end in zip(self.phases, ends, strict=True)
        )

    def surely_counts(self, since: float, until: float) -> bool:
        """Whether every call admitted in the span is posted to it; around switches some may be, and some not."""
        first, last = self._phase(since), self._phase(until)
        if first is None or first is not last or first.mode == PAUSED:
            return False
        return not self.is_switched or first.done_at + SETTLE_S <= since

    def window(self, since: float, until: float) -> int | None:
        """The window of a call admitted in the span, counted from 0; None where it may be either of two."""
        first = bisect_right([midnight + MIDNIGHT_S for midnight in self.midnights], since)
        return first if bisect_right(self.midnights, until) == first else None

    def window_from(self, start: float) -> int:
        """Which of its windows begins then."""
        return bisect_right(self.midnights, start + 1.0)

    def _phase(self, at: float) -> Phase | None:
        """The one last asked for at that time; None before it was made."""
        return next((phase for phase in reversed(self.phases) if phase.asked_at <= at), None)

    def __str__(self) -> str:
        narrowed = ",".join(each for each in self.narrowed_to if each)
        return f"{self.account} ({self.measure}{f' of {narrowed}' if narrowed else ''})"
