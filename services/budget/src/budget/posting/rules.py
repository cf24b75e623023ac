"""Posting: what priced entries do to the windows and leases they touch. Pure; the shell locks, stores and publishes.

tally(entries, …)   which windows, in which order of entries          (before any row is locked)
apply(tallies, …)   new figures, and the marks each entry reached     (while the rows are locked)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from budget.alerts.rules import EXHAUSTED, OVER_LIMIT, Threshold, reached
from budget.budgets.rules import Budget, BudgetsByAccount, Window
from budget.budgets.windows import Span
from budget.shares.rules import Room, ShareState, WindowKey, release
from farebox.events import UsagePriced
from farebox.leasing import Attributes

Shares = Mapping[UUID, Mapping[UUID, ShareState]]
"""By lease id, then budget id."""


@dataclass(frozen=True, slots=True)
class Part:
    """One entry's amount in one window; the lease it was held under, if one was, and what that takes off the lease."""

    entry_id: UUID
    amount: int
    lease_id: UUID | None
    settled: int


@dataclass(slots=True)
class Tally:
    """All that a batch posts to one window, in the order it came."""

    budget: Budget
    key: WindowKey
    span: Span
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reached:
    """A mark that spending reached: `spent` right after the entry that did it; `is_highest` of those it reached."""

    budget: Budget
    key: WindowKey
    mark: Threshold | str
    spent: int
    is_highest: bool
    entry_id: UUID | None

    @property
    def mark_id(self) -> str:
        return self.mark if isinstance(self.mark, str) else self.mark.id


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new figures of every window and share touched, the marks reached in order, and where spending went down."""

    windows: dict[WindowKey, Window]
    shares: list[ShareState]
    reached: list[Reached]
    lowered: list[Tally]


def foreign_currency(entry: UsagePriced, budgets: BudgetsByAccount) -> Budget | None:
    """A money budget on the entry's path that counts in another currency: such an entry cannot be posted."""
    for account in entry.principal.path():
        for budget in budgets.get(account, ()):
            if budget.currency is not None and budget.currency != entry.currency:
                return budget
    return None


def tally(entries: Iterable[UsagePriced], budgets: BudgetsByAccount, shares: Shares) -> dict[WindowKey, Tally]:
    """Sort entries into windows: the lease's own window where there is one, else the window of the event's time."""
    tallies: dict[WindowKey, Tally] = {}
    spans: dict[UUID, Span] = {}
    for entry in entries:
        held = shares.get(entry.lease.lease_id, {}) if entry.lease else {}
        call = Attributes(provider=entry.provider, model=entry.model, feature=entry.feature, session=entry.session)
        for account in entry.principal.path():
            for budget in budgets.get(account, ()):
                share = held.get(budget.budget_id)
                if share is None and not budget.applies_to(call):
                    continue
                at = share.key[1] if share else entry.occurred_at
                span = _span(budget, at, spans)
                key = (budget.budget_id, span.start)
                found = tallies.get(key)
                if found is None:
                    found = tallies[key] = Tally(budget, key, span)
                found.parts.append(_part(entry, budget, share))
    return tallies


def _span(budget: Budget, at: datetime, known: dict[UUID, Span]) -> Span:
    span = known.get(budget.budget_id)
    if span is None or at not in span:
        span = known[budget.budget_id] = budget.calendar.span(at)
    return span


def _part(entry: UsagePriced, budget: Budget, share: ShareState | None) -> Part:
    """The lease loses what its gateway counted, or what is left of it could neither be spent nor returned."""
    amount = _amount(entry, budget)
    if share is None or entry.lease is None:
        return Part(entry.entry_id, amount, None, 0)
    stated = entry.lease.settled_nano if budget.measure == "money" else None
    return Part(entry.entry_id, amount, share.lease_id, amount if stated is None else stated)


def _amount(entry: UsagePriced, budget: Budget) -> int:
    match budget.measure:
        case "money":
            return entry.billed_nano or 0
        case "requests":
            return entry.requests
        case "tokens":
            return entry.tokens


def apply(tallies: Iterable[Tally], windows: Mapping[WindowKey, Window], shares: Shares) -> Outcome:
    """Post every tally to its locked window, releasing what its leases held, and judge the marks."""
    outcome = Outcome(windows={}, shares=[], reached=[], lowered=[])
    for each in tallies:
        window = windows[each.key]
        posted = sum(part.amount for part in each.parts)
        room = window.room.moved(posted=posted)
        for lease_id, amount in _by_lease(each.parts).items():
            before = shares[lease_id][each.budget.budget_id]
            after = before.charged(amount)
            room = release(before, after, room)
            outcome.shares.append(after)
        outcome.windows[each.key] = window.with_room(room)
        outcome.reached.extend(_newly_reached(each, window, room, shares))
        if posted < 0:
            outcome.lowered.append(each)
    return outcome


def _by_lease(parts: Sequence[Part]) -> dict[UUID, int]:
    sums: dict[UUID, int] = {}
    for part in parts:
        if part.lease_id is not None:
            sums[part.lease_id] = sums.get(part.lease_id, 0) + part.settled
    return sums


def _newly_reached(each: Tally, before: Window, after: Room, shares: Shares) -> list[Reached]:
    """Marks between the window's old and new spending, each with the entry that reached it.

    What an entry takes out of suspense had been spent before.
    """
    marks = before.thresholds(each.budget)
    room = before.room
    if marks_at(each.budget, marks, room) == marks_at(each.budget, marks, after):
        return []
    found: list[Reached] = []
    held: dict[UUID, ShareState] = {}
    for part in each.parts:
        grown = room.moved(posted=part.amount)
        if part.lease_id is not None:
            share = held.get(part.lease_id) or shares[part.lease_id][each.budget.budget_id]
            held[part.lease_id] = share.charged(part.settled)
            grown = release(share, held[part.lease_id], grown)
        fresh = [mark for mark in marks_at(each.budget, marks, grown) if mark not in marks_at(each.budget, marks, room)]
        found.extend(
            Reached(each.budget, each.key, mark, grown.spent, mark is highest(fresh), part.entry_id) for mark in fresh
        )
        room = grown
    return found


def highest(marks: Sequence[Threshold | str]) -> Threshold | str | None:
    """Of the marks one posting reached, the one people hear of: the last threshold, or that it went over the limit."""
    for mark in reversed(marks):
        if mark != EXHAUSTED:
            return mark
    return None


def marks_at(budget: Budget, marks: Sequence[Threshold], room: Room) -> tuple[Threshold | str, ...]:
    """Every mark that spending has reached: thresholds, then exhausted (hard budgets), then over the limit."""
    if not budget.is_active:
        return ()
    found: tuple[Threshold | str, ...] = reached(marks, room.spent)
    if budget.mode == "hard" and room.spent >= room.limit:
        found = (*found, EXHAUSTED)
    if room.spent > room.limit:
        found = (*found, OVER_LIMIT)
    return found
