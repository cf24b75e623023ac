"""Posting: what priced entries do to the windows and leases they touch. Pure; the shell locks, stores and publishes.

tally(entries, …)   which windows, in which order of entries          (before any row is locked)
apply(tallies, …)   new figures, and how they went past marks         (while the rows are locked)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from budget.alerts.occurrences import Standing
from budget.alerts.rules import EXHAUSTED, OVER_LIMIT, Mark, Threshold, id_of, reached
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
    """A mark that spending reached: `spent` right after the entry that did it; `is_highest` of those it reached.

    It is provisional if what is posted does not reach it without what is in suspense.
    """

    budget: Budget
    key: WindowKey
    mark: Mark
    spent: int
    is_highest: bool
    entry_id: UUID | None
    provisional: bool = False

    @property
    def mark_id(self) -> str:
        return id_of(self.mark)


@dataclass(frozen=True, slots=True)
class Course:
    """How a batch moved a window's spending: where it stood before, and after each of the entries."""

    budget: Budget
    key: WindowKey
    entry_ids: tuple[UUID, ...]
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new figures of every window and share touched, and the course of each that may have passed a mark."""

    windows: dict[WindowKey, Window]
    shares: list[ShareState]
    courses: list[Course]


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
    outcome = Outcome(windows={}, shares=[], courses=[])
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
        if _may_pass_a_mark(each, window, room):
            outcome.courses.append(_course(each, window, shares))
    return outcome


def _by_lease(parts: Sequence[Part]) -> dict[UUID, int]:
    sums: dict[UUID, int] = {}
    for part in parts:
        if part.lease_id is not None:
            sums[part.lease_id] = sums.get(part.lease_id, 0) + part.settled
    return sums


def _may_pass_a_mark(each: Tally, before: Window, after: Room) -> bool:
    """Whether the entries must be looked at one by one. Where spending only grows, its two ends tell."""
    only_grows = before.room.suspended == after.suspended and all(part.amount >= 0 for part in each.parts)
    marks = before.thresholds(each.budget)
    first, last = standing(each.budget, marks, before.room), standing(each.budget, marks, after)
    return not only_grows or (first.reached, first.posted) != (last.reached, last.posted)


def _course(each: Tally, before: Window, shares: Shares) -> Course:
    """What an entry takes out of suspense had been spent before."""
    marks = before.thresholds(each.budget)
    room = before.room
    standings = [standing(each.budget, marks, room)]
    held: dict[UUID, ShareState] = {}
    for part in each.parts:
        room = room.moved(posted=part.amount)
        if part.lease_id is not None:
            share = held.get(part.lease_id) or shares[part.lease_id][each.budget.budget_id]
            held[part.lease_id] = share.charged(part.settled)
            room = release(share, held[part.lease_id], room)
        standings.append(standing(each.budget, marks, room))
    return Course(each.budget, each.key, tuple(part.entry_id for part in each.parts), tuple(standings))


def standing(budget: Budget, marks: Sequence[Threshold], room: Room) -> Standing:
    """What a window's spending has reached, with suspense and without."""
    by_all = marks_at(budget, marks, room)
    alone = by_all if room.posted == room.spent else marks_at(budget, marks, room, spent=room.posted)
    return Standing(room.spent, by_all, alone)


def marks_at(budget: Budget, marks: Sequence[Threshold], room: Room, *, spent: int | None = None) -> tuple[Mark, ...]:
    """Every mark that spending has reached: thresholds, then exhausted (hard budgets), then over the limit."""
    if not budget.is_active:
        return ()
    spent = room.spent if spent is None else spent
    found: tuple[Mark, ...] = reached(marks, spent)
    if budget.mode == "hard" and spent >= room.limit:
        found = (*found, EXHAUSTED)
    if spent > room.limit:
        found = (*found, OVER_LIMIT)
    return found
