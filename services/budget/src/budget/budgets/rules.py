"""A budget: a limit on an account, in a measure, per window, and how its state is told to others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Final
from uuid import UUID

from budget.alerts.rules import Threshold, thresholds
from budget.budgets.windows import Calendar, Kind, Span
from budget.shares.rules import Room, WindowKey
from farebox.events import AccountRef, BudgetState, BudgetWindow, Measure, ThresholdMark
from farebox.events.budget import Mode
from farebox.matching import Admitted, Narrowing, applies

_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Budget:
    """As stored. `path` are account ids from the platform down to the budget's own account.

    Calls that began before `counts_from` never count. Since `hard_since` the limit is guaranteed: every gateway that
    lives has confirmed it; None while that is awaited, or where the budget is not hard.
    """

    budget_id: UUID
    name: str
    account: AccountRef
    path: tuple[str, ...]
    measure: Measure
    currency: str | None
    calendar: Calendar
    limit: int
    limit_revision: int
    mode: Mode
    is_active: bool
    marks: tuple[ThresholdMark, ...]
    narrowed_to: Narrowing
    counts_from: datetime
    hard_since: datetime | None = None

    @property
    def holds(self) -> bool:
        """Whether requests need a share of it: hard, and not paused."""
        return self.mode == "hard" and self.is_active

    def applies_to(self, call: Admitted) -> bool:
        """Whether a call that was admitted under these attributes counts against it."""
        return applies(self.narrowed_to, call)

    def window_key(self, at: datetime) -> WindowKey:
        return self.budget_id, self.calendar.span(at).start


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a budget: its figures (`room`), its end, and the revisions events carry."""

    room: Room
    end: datetime | None
    limit_revision: int
    revision: int

    def with_room(self, room: Room) -> "Window":
        """The window's next revision."""
        return Window(room, self.end, self.limit_revision, self.revision + 1)

    def under(self, budget: Budget) -> "Window":
        """The window once its budget's limit, mode or activity has changed; what is out stays out."""
        room = self.room.limited(budget.limit, is_hard=budget.holds)
        return replace(self.with_room(room), limit_revision=budget.limit_revision)

    def thresholds(self, budget: Budget) -> tuple[Threshold, ...]:
        return thresholds(budget.marks, self.room.limit)


def fresh_window(budget: Budget, span: Span) -> Window:
    """A window that was never used."""
    room = Room((budget.budget_id, span.start), budget.measure, budget.limit, 0, 0, 0, is_hard=budget.holds)
    return Window(room, span.end, budget.limit_revision, 1)


def state(budget: Budget, window: Window, *, spent: int | None = None) -> BudgetState:
    """The public state of a window; `spent` overrides what is spent by now, for an event about an earlier instant."""
    room = window.room
    spent = room.spent if spent is None else spent
    return BudgetState(
        budget_id=budget.budget_id,
        budget_name=budget.name,
        account=budget.account,
        path=budget.path,
        measure=budget.measure,
        currency=budget.currency,
        mode=budget.mode,
        window=_told(budget.calendar.kind, room.key[1], window.end, budget.calendar.zone),
        limit=room.limit,
        limit_revision=window.limit_revision,
        spent=spent,
        held=room.escrowed,
        uncertain=room.uncertain,
        remaining=max(0, room.limit - spent - room.escrowed - room.uncertain),
        percent_spent=percent(spent, room.limit),
        thresholds=tuple(threshold.mark for threshold in window.thresholds(budget)),
        active=budget.is_active,
        revision=window.revision,
    )


@lru_cache(maxsize=4_096)
def _told(kind: Kind, start: datetime, end: datetime | None, zone: str) -> BudgetWindow:
    return BudgetWindow(kind=kind, start=start, end=end, zone=zone)


def percent(spent: int, limit: int) -> Decimal:
    """spent ÷ limit in percent, half-even to two decimals; a limit of 0 counts as all spent."""
    if limit == 0:
        return Decimal("100.00")
    return (Decimal(spent) * 100 / Decimal(limit)).quantize(_CENT, ROUND_HALF_EVEN)


BudgetsByAccount = Mapping[str, tuple[Budget, ...]]
