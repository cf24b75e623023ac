"""Posting: what priced entries do to the windows and shares they touch. Pure; the shell locks, stores and publishes.

tally(entries, …)   which windows, in which order of entries          (before any row is locked)
apply(tallies, …)   new figures, and how they went past marks         (while the rows are locked)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from budget.alerts.occurrences import Standing
from budget.alerts.rules import EXHAUSTED, OVER_LIMIT, Mark, Threshold, id_of, reached
from budget.budgets.rules import Budget, BudgetsByAccount, Window
from budget.budgets.windows import Span
from budget.shares.rules import Room, Share, ShareKey, WindowKey, release
from farebox.events import Measured, UsagePriced
from farebox.matching import Admitted

Leases = Mapping[UUID, Sequence[ShareKey]]
"""Where the calls of leases of the version before were held."""

Uncertain = Mapping[tuple[UUID, WindowKey], int]
"""What is open, by attempt and window."""


@dataclass(frozen=True, slots=True)
class Part:
    """One entry's amount in one window; the share it was held in, if any, and what its gateway settled there.

    `uncertain` is what it adds to the window beside the amount; `settles` the attempt whose uncertain amount it ends.
    """

    entry_id: UUID
    attempt_id: UUID
    amount: int
    share: ShareKey | None = None
    settled: int = 0
    uncertain: int = 0
    settles: UUID | None = None


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
class LeftOut:
    """A budget that an entry was left out of: it counts in another currency, and did not hold the call."""

    entry_id: UUID
    budget: Budget
    currency: str


@dataclass(frozen=True, slots=True)
class Posted:
    """The new figures of every window and share touched, and the course of each that may have passed a mark."""

    windows: dict[WindowKey, Window]
    shares: list[Share]
    courses: list[Course]
    uncertain: dict[tuple[UUID, WindowKey], int]


def tally(
    entries: Sequence[UsagePriced], budgets: BudgetsByAccount, leases: Leases, open_: Uncertain
) -> tuple[dict[WindowKey, Tally], list[LeftOut]]:
    """Sort entries into windows: those that held the call, and those of its time where other budgets count it.

    What began before a budget counts is not for it. A correction also goes to the windows where something of its
    attempt is uncertain.
    """
    tallies: dict[WindowKey, Tally] = {}
    left: list[LeftOut] = []
    spans: dict[UUID, Span] = {}
    for entry in entries:
        held = _held(entry, leases)
        call = _admitted(entry)
        for account in entry.principal.path():
            for budget in budgets.get(account, ()):
                share = held.get(budget.budget_id)
                if share is None and not _counts(budget, entry, call):
                    continue
                if share is None and _is_foreign(budget, entry):
                    left.append(LeftOut(entry.entry_id, budget, entry.currency))
                    continue
                span = _span(budget, share.window_start if share else entry.occurred_at, spans)
                _add(tallies, budget, span, _part(entry, budget, share))
    if corrections := [entry for entry in entries if entry.kind == "correction"]:
        _end_uncertain(tallies, corrections, budgets, open_)
    return tallies, left


def _add(tallies: dict[WindowKey, Tally], budget: Budget, span: Span, part: Part) -> None:
    key = (budget.budget_id, span.start)
    found = tallies.get(key)
    if found is None:
        found = tallies[key] = Tally(budget, key, span)
    found.parts.append(part)


def _end_uncertain(
    tallies: dict[WindowKey, Tally], corrections: Sequence[UsagePriced], budgets: BudgetsByAccount, open_: Uncertain
) -> None:
    """Of the corrected attempts, nothing stays uncertain in a window that its correction does not post to."""
    unsure = set(open_)
    for each in tallies.values():
        unsure |= {(part.attempt_id, each.key) for part in each.parts if part.uncertain}
    for each in tallies.values():
        unsure -= {(part.settles, each.key) for part in each.parts if part.settles}
    by_id = {budget.budget_id: budget for some in budgets.values() for budget in some}
    for entry in corrections:
        for _, (budget_id, start) in sorted(one for one in unsure if one[0] == entry.attempt_id):
            budget = by_id[budget_id]
            part = Part(entry.entry_id, entry.attempt_id, 0, settles=entry.attempt_id)
            _add(tallies, budget, budget.calendar.span(start), part)


def _held(entry: UsagePriced, leases: Leases) -> dict[UUID, ShareKey]:
    """The shares that held the call, by budget."""
    if entry.held is not None:
        held = entry.held
        return {each.budget_id: ShareKey(each.budget_id, each.start, held.gateway, held.epoch) for each in held.windows}
    if entry.lease is not None:
        return {key.budget_id: key for key in leases.get(entry.lease.lease_id, ())}
    return {}


def _admitted(entry: UsagePriced) -> Admitted:
    """What the call was admitted under; entries of the version before say only what served it."""
    if entry.held is None:
        return Admitted(entry.provider, entry.provider, entry.model, entry.feature, entry.session)
    call = entry.held.attributes
    return Admitted(call.upstream, call.provider, call.model, call.feature, call.session)


def _counts(budget: Budget, entry: UsagePriced, call: Admitted) -> bool:
    return entry.occurred_at >= budget.counts_from and budget.applies_to(call)


def _is_foreign(budget: Budget, entry: UsagePriced) -> bool:
    return budget.currency is not None and budget.currency != entry.currency


def _span(budget: Budget, at: datetime, known: dict[UUID, Span]) -> Span:
    span = known.get(budget.budget_id)
    if span is None or at not in span:
        span = known[budget.budget_id] = budget.calendar.span(at)
    return span


def _part(entry: UsagePriced, budget: Budget, share: ShareKey | None) -> Part:
    """The share loses what its gateway settled, or what is left of it could neither be spent nor returned. Where the
    charge is in a currency that the budget does not count in, it counts what was settled in its own."""
    if entry.kind == "correction":
        return Part(entry.entry_id, entry.attempt_id, _amount(entry, budget), settles=entry.attempt_id)
    if share is None:
        return Part(entry.entry_id, entry.attempt_id, _amount(entry, budget))
    settled, uncertain = _settled(entry, budget)
    amount = settled - uncertain if _is_foreign(budget, entry) else _amount(entry, budget)
    return Part(entry.entry_id, entry.attempt_id, amount, share, settled, uncertain)


def _settled(entry: UsagePriced, budget: Budget) -> tuple[int, int]:
    if entry.held is not None:
        return _of(entry.held.settled, budget), _of(entry.held.uncertain, budget)
    stated = entry.lease.settled_nano if entry.lease and budget.measure == "money" else None
    return (_amount(entry, budget) if stated is None else stated), 0


def _of(amounts: Measured, budget: Budget) -> int:
    match budget.measure:
        case "money":
            return amounts.money
        case "requests":
            return amounts.requests
        case "tokens":
            return amounts.tokens


def _amount(entry: UsagePriced, budget: Budget) -> int:
    match budget.measure:
        case "money":
            return entry.billed_nano or 0
        case "requests":
            return entry.requests
        case "tokens":
            return entry.tokens


def apply(
    tallies: Iterable[Tally], windows: Mapping[WindowKey, Window], shares: Mapping[ShareKey, Share], open_: Uncertain
) -> Posted:
    """Post every tally to its locked window, releasing what its shares held, and judge the marks."""
    outcome = Posted(windows={}, shares=[], courses=[], uncertain={})
    for each in tallies:
        window = windows[each.key]
        room, held = _posted(each, window.room, shares, open_)
        outcome.uncertain.update({(p.attempt_id, each.key): p.uncertain for p in each.parts if p.uncertain})
        outcome.shares.extend(held)
        outcome.windows[each.key] = window.with_room(room)
        if _may_pass_a_mark(each, window, room):
            outcome.courses.append(_course(each, window, shares, open_))
    return outcome


def _posted(each: Tally, room: Room, shares: Mapping[ShareKey, Share], open_: Uncertain) -> tuple[Room, list[Share]]:
    """The window and the shares after all of a tally: sums alone, so that a large batch costs little."""
    uncertain = sum(part.uncertain for part in each.parts) - sum(_ended(each, open_).values())
    room = room.moved(posted=sum(part.amount for part in each.parts), uncertain=uncertain)
    settled: dict[ShareKey, int] = {}
    for part in each.parts:
        if part.share:
            settled[part.share] = settled.get(part.share, 0) + part.settled
    held = []
    for key, amount in settled.items():
        before = shares.get(key) or Share(key)
        after = before.charged(amount)
        room = release(before, after, room)
        held.append(after)
    return room, held


def _ended(each: Tally, open_: Uncertain) -> dict[UUID, int]:
    """What stops being uncertain in the window, by attempt: what was open, or came with the same batch."""
    settles = {part.settles for part in each.parts if part.settles}
    if not settles:
        return {}
    fresh = {part.attempt_id: part.uncertain for part in each.parts if part.uncertain}
    return {attempt: fresh.get(attempt, 0) or open_.get((attempt, each.key), 0) for attempt in settles}


def _may_pass_a_mark(each: Tally, before: Window, after: Room) -> bool:
    """Whether the entries must be looked at one by one. Where spending only grows, its two ends tell."""
    only_grows = before.room.suspended == after.suspended and all(part.amount >= 0 for part in each.parts)
    marks = before.thresholds(each.budget)
    first, last = standing(each.budget, marks, before.room), standing(each.budget, marks, after)
    return not only_grows or (first.reached, first.posted) != (last.reached, last.posted)


def _course(each: Tally, before: Window, shares: Mapping[ShareKey, Share], open_: Uncertain) -> Course:
    """What an entry takes out of suspense had been spent before."""
    marks = before.thresholds(each.budget)
    room = before.room
    standings = [standing(each.budget, marks, room)]
    held = dict(shares)
    for part in each.parts:
        room, changed = _posted(replace(each, parts=[part]), room, held, open_)
        held |= {share.key: share for share in changed}
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
