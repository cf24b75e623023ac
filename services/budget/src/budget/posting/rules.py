"""Posting: what priced entries do to the windows and shares they touch. Pure; the shell locks, stores and publishes.

tally(entries, …)   which windows, in which order of entries          (before any row is locked)
apply(tallies, …)   new figures, and how they went past marks         (while the rows are locked)
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from budget.alerts.occurrences import Standing
from budget.alerts.rules import EXHAUSTED, OVER_LIMIT, Mark, Threshold, id_of, reached
from budget.budgets.rules import Budget, BudgetsByAccount, Window
from budget.budgets.windows import Span
from budget.posting.entries import Amounts, Entry
from budget.shares.rules import Room, Share, ShareKey, WindowKey, release
from farebox.events import Measure
from farebox.matching import EVERYTHING, Admitted

Leases = Mapping[UUID, Sequence[ShareKey]]
"""Where the calls of leases of the version before were held."""

Uncertain = Mapping[tuple[UUID, WindowKey], int]
"""What is open, by attempt and window."""


Holder: TypeAlias = tuple[str, int]
"""A gateway and its epoch: within one window, that is the share."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """One entry's amount in one window; who held it there, if anybody, and what that gateway settled.

    `uncertain` is what it adds to the window beside the amount; `settles` the attempt whose uncertain amount it ends.
    A batch makes thousands: a dataclass takes ten times as long.
    """

    entry_id: UUID
    attempt_id: UUID
    amount: int
    holder: Holder | None = None
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

    def shares(self) -> list[ShareKey]:
        """Those that held something of it."""
        return [ShareKey(*self.key, *holder) for holder in {part.holder for part in self.parts} if holder]


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
    """A budget that an entry was left out of: it counts in another currency, and nothing in its own was settled."""

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
    entries: Iterable[Entry], budgets: BudgetsByAccount, leases: Leases, open_: Uncertain
) -> tuple[dict[WindowKey, Tally], list[LeftOut]]:
    """Sort entries into windows: those that held the call, and those of its time where other budgets count it.

    What began before a budget counts is not for it. A correction also goes to the windows where something of its
    attempt is uncertain.
    """
    tallies: dict[WindowKey, Tally] = {}
    left: list[LeftOut] = []
    lanes = _Lanes(budgets)
    corrections: list[Entry] = []
    for entry in entries:
        held, holder = _held(entry, leases)
        for lane in lanes.on(entry.principal.path()):
            start = held.get(lane.budget.budget_id) if held else None
            if start is None and not _counts(lane.budget, entry):
                continue
            if (start is None or entry.kind == "correction") and _is_foreign(lane.budget, entry):
                left.append(LeftOut(entry.entry_id, lane.budget, entry.currency))
            elif start is not None:
                lane.tally_at(start, tallies).parts.append(_held_part(entry, lane, holder))
            else:
                lane.tally_at(entry.occurred_at, tallies).parts.append(_part(entry, lane.of_entry(entry)))
        if entry.kind == "correction":
            corrections.append(entry)
    if corrections:
        _end_uncertain(tallies, corrections, budgets, open_)
    return tallies, left


_OF_ENTRY: Final[Mapping[Measure, Callable[[Entry], int]]] = {
    "money": attrgetter("billed_nano"),
    "requests": attrgetter("requests"),
    "tokens": attrgetter("tokens"),
}


class _Lane:
    """One budget's way through a batch. Entries of one window mostly follow each other: the last one is at hand."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.of_entry = _OF_ENTRY[budget.measure]
        self.of: Callable[[Amounts], int] = attrgetter(budget.measure)
        self._last: Tally | None = None

    def tally_at(self, at: datetime, tallies: dict[WindowKey, Tally]) -> Tally:
        """That of the window which holds an instant; a new one if need be."""
        if self._last is None or at not in self._last.span:
            self._last = _tally_of(tallies, self.budget, self.budget.calendar.span(at))
        return self._last


class _Lanes:
    """Of all budgets; looked up once for each path, as many entries share one."""

    def __init__(self, budgets: BudgetsByAccount) -> None:
        self._by_account = {account: [_Lane(each) for each in some] for account, some in budgets.items()}
        self._by_path: dict[tuple[str, ...], list[_Lane]] = {}

    def on(self, path: tuple[str, ...]) -> Sequence[_Lane]:
        found = self._by_path.get(path)
        if found is None:
            found = self._by_path[path] = [lane for account in path for lane in self._by_account.get(account, ())]
        return found


def _tally_of(tallies: dict[WindowKey, Tally], budget: Budget, span: Span) -> Tally:
    key = (budget.budget_id, span.start)
    found = tallies.get(key)
    if found is None:
        found = tallies[key] = Tally(budget, key, span)
    return found


def settle_at_once(tallies: Iterable[Tally], corrected: Collection[UUID]) -> None:
    """Of attempts whose truth was entered before their charge came, nothing becomes uncertain."""
    for each in tallies:
        each.parts = [
            msgspec.structs.replace(part, uncertain=0) if part.attempt_id in corrected else part for part in each.parts
        ]


def _end_uncertain(
    tallies: dict[WindowKey, Tally], corrections: Sequence[Entry], budgets: BudgetsByAccount, open_: Uncertain
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
            _tally_of(tallies, budget, budget.calendar.span(start)).parts.append(part)


def _held(entry: Entry, leases: Leases) -> tuple[Mapping[UUID, datetime], Holder | None]:
    """The windows that held the call, as their starts by budget, and who held it there."""
    if (held := entry.held) is not None:
        return {each.budget_id: each.start for each in held.windows}, (held.gateway, held.epoch)
    if entry.lease is not None and (keys := leases.get(entry.lease.lease_id)):
        return {key.budget_id: key.window_start for key in keys}, (keys[0].gateway_id, keys[0].epoch)
    return {}, None


def _admitted(entry: Entry) -> Admitted:
    """What the call was admitted under; entries of the version before say only what served it."""
    if entry.held is None:
        return Admitted(entry.provider, entry.provider, entry.model, entry.feature, entry.session)
    call = entry.held.attributes
    return Admitted(call.upstream, call.provider, call.model, call.feature, call.session)


def _counts(budget: Budget, entry: Entry) -> bool:
    return entry.occurred_at >= budget.counts_from and (
        budget.narrowed_to == EVERYTHING or budget.applies_to(_admitted(entry))
    )


def _is_foreign(budget: Budget, entry: Entry) -> bool:
    return budget.currency is not None and budget.currency != entry.currency


def _part(entry: Entry, amount: int) -> Part:
    if entry.kind == "correction":
        return Part(entry.entry_id, entry.attempt_id, amount, settles=entry.attempt_id)
    return Part(entry.entry_id, entry.attempt_id, amount)


def _held_part(entry: Entry, lane: _Lane, holder: Holder | None) -> Part:
    """The share loses what its gateway settled, or what is left of it could neither be spent nor returned. Where the
    charge is in a currency that the budget does not count in, it counts what was settled in its own."""
    if entry.kind == "correction":
        return _part(entry, lane.of_entry(entry))
    if entry.held is not None:
        settled, uncertain = lane.of(entry.held.settled), lane.of(entry.held.uncertain)
    else:
        settled, uncertain = _settled_of_lease(entry, lane), 0
    amount = settled - uncertain if _is_foreign(lane.budget, entry) else lane.of_entry(entry)
    return Part(entry.entry_id, entry.attempt_id, amount, holder, settled, uncertain)


def _settled_of_lease(entry: Entry, lane: _Lane) -> int:
    stated = entry.lease.settled_nano if entry.lease and lane.budget.measure == "money" else None
    return lane.of_entry(entry) if stated is None else stated


def apply(
    tallies: Iterable[Tally], windows: Mapping[WindowKey, Window], shares: Mapping[ShareKey, Share], open_: Uncertain
) -> Posted:
    """Post every tally to its locked window, releasing what its shares held, and judge the marks."""
    outcome = Posted(windows={}, shares=[], courses=[], uncertain={})
    for each in tallies:
        window, sums = windows[each.key], _Sums(each.parts)
        room, held = _posted(each, sums, window.room, shares, open_)
        outcome.uncertain.update({(attempt, each.key): amount for attempt, amount in sums.uncertain.items()})
        outcome.shares.extend(held)
        outcome.windows[each.key] = window.with_room(room)
        if _may_pass_a_mark(each, sums, window, room):
            outcome.courses.append(_course(each, window, shares, open_))
    return outcome


class _Sums:
    """What parts come to: a large batch costs little by it."""

    __slots__ = ("only_grows", "posted", "settled", "settles", "uncertain")

    def __init__(self, parts: Iterable[Part]) -> None:
        self.posted = 0
        self.only_grows = True
        self.settled: dict[Holder, int] = {}
        self.uncertain: dict[UUID, int] = {}
        self.settles: set[UUID] = set()
        for part in parts:
            self.posted += part.amount
            if part.holder is not None:
                self.settled[part.holder] = self.settled.get(part.holder, 0) + part.settled
            if part.uncertain:
                self.uncertain[part.attempt_id] = part.uncertain
            if part.settles is not None:
                self.settles.add(part.settles)
            if part.amount < 0:
                self.only_grows = False


def _posted(
    each: Tally, sums: _Sums, room: Room, shares: Mapping[ShareKey, Share], open_: Uncertain
) -> tuple[Room, list[Share]]:
    """The window and the shares after all of a tally."""
    uncertain = sum(sums.uncertain.values()) - _ended(each.key, sums, open_)
    room = room.moved(posted=sums.posted, uncertain=uncertain)
    held = []
    for holder, amount in sums.settled.items():
        key = ShareKey(*each.key, *holder)
        before = shares.get(key) or Share(key)
        after = before.charged(amount)
        room = release(before, after, room)
        held.append(after)
    return room, held


def _ended(key: WindowKey, sums: _Sums, open_: Uncertain) -> int:
    """What stops being uncertain in the window: of each attempt what was open, or came with the same batch."""
    return sum(sums.uncertain.get(attempt, 0) or open_.get((attempt, key), 0) for attempt in sums.settles)


def _may_pass_a_mark(each: Tally, sums: _Sums, before: Window, after: Room) -> bool:
    """Whether the entries must be looked at one by one. Where spending only grows, its two ends tell."""
    if not sums.only_grows or before.room.suspended != after.suspended:
        return True
    marks = before.thresholds(each.budget)
    first, last = standing(each.budget, marks, before.room), standing(each.budget, marks, after)
    return (first.reached, first.posted) != (last.reached, last.posted)


def _course(each: Tally, before: Window, shares: Mapping[ShareKey, Share], open_: Uncertain) -> Course:
    """What an entry takes out of suspense had been spent before."""
    marks = before.thresholds(each.budget)
    room = before.room
    standings = [standing(each.budget, marks, room)]
    held = dict(shares)
    for part in each.parts:
        room, changed = _posted(each, _Sums([part]), room, held, open_)
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
