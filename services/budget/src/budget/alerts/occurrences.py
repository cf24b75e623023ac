"""Occurrences: how often a mark is crossed and resolved in one window, and which of that people hear. Pure.

turns(…)    what a course of spending crosses and resolves, in order
Register    numbers the occurrences, and says which of their events are for people
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, TypeAlias
from uuid import UUID

from budget.alerts.rules import EXHAUSTED, Mark, highest, id_of
from budget.shares.rules import WindowKey

PEOPLE_HEAR_EVERY: Final = timedelta(days=1)
"""A mark that is crossed again sooner tells programs only."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One crossing of a mark, numbered from 1 within the window, whatever the limit was.

    It is provisional while the mark is reached only with what is in suspense.
    """

    number: int
    limit_revision: int
    provisional: bool
    notify_people: bool


@dataclass(frozen=True, slots=True)
class Noted:
    """What the books say of one mark in one window: its newest number, what is open, when people last heard of it."""

    newest: int = 0
    open: Occurrence | None = None
    told_at: datetime | None = None

    def lets_cross(self, limit_revision: int, *, provisional: bool) -> bool:
        """Whether reaching the mark is news: it was not crossed under this limit, or not without suspense."""
        if self.open is None or self.open.limit_revision != limit_revision:
            return True
        return self.open.provisional and not provisional

    def next(self, limit_revision: int, now: datetime, *, provisional: bool, is_for_people: bool) -> Occurrence:
        """The occurrence that follows; people hear of it if it is for them, real, and not told within a day."""
        tells = is_for_people and not provisional and not self._was_told_within_a_day(now)
        return Occurrence(self.newest + 1, limit_revision, provisional, tells)

    def _was_told_within_a_day(self, now: datetime) -> bool:
        """Counts both ways: a clock that was set back must not keep people in the dark for longer."""
        return self.told_at is not None and abs(now - self.told_at) < PEOPLE_HEAR_EVERY


Notes: TypeAlias = Mapping[str, Noted]
"""By the mark's id, of one window."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The marks that spending has reached at one instant, in the order in which it meets them.

    `posted` are those that it reaches without what is in suspense.
    """

    spent: int
    reached: tuple[Mark, ...]
    posted: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Crossed:
    """Step number `step` of the course reached a mark; `is_highest` of those that it really reached."""

    step: int
    mark: Mark
    provisional: bool
    is_highest: bool


@dataclass(frozen=True, slots=True)
class Resolved:
    """Step number `step` of the course left a mark that was crossed."""

    step: int
    mark_id: str


def turns(notes: Notes, limit_revision: int, course: Sequence[Standing]) -> list[Crossed | Resolved]:
    """What spending crosses and resolves on its way from the first standing to the last, in order.

    A mark that was reached with suspense is crossed once more when what is posted reaches it alone.
    """
    notes, found = dict(notes), list[Crossed | Resolved]()
    for step, (before, after) in enumerate(pairwise(course)):
        for mark_id in _resolved(notes, before, after):
            notes[mark_id] = replace(notes[mark_id], open=None)
            found.append(Resolved(step, mark_id))
        for turn in _crossed(notes, limit_revision, step, after):
            made = Occurrence(0, limit_revision, turn.provisional, notify_people=False)
            notes[id_of(turn.mark)] = Noted(open=made)
            found.append(turn)
    return found


def _resolved(notes: Notes, before: Standing, after: Standing) -> list[str]:
    """Open marks that are not reached any more. What a refused request exhausted stays so until spending falls."""
    still = {id_of(mark) for mark in after.reached}
    if after.spent >= before.spent:
        still.add(EXHAUSTED)
    return sorted(mark for mark, noted in notes.items() if noted.open and mark not in still)


def _crossed(notes: Notes, limit_revision: int, step: int, after: Standing) -> list[Crossed]:
    fresh = [
        mark
        for mark in after.reached
        if notes.get(id_of(mark), Noted()).lets_cross(limit_revision, provisional=mark not in after.posted)
    ]
    top = highest([mark for mark in fresh if mark in after.posted])
    return [Crossed(step, mark, mark not in after.posted, mark is top) for mark in fresh]


@dataclass(frozen=True, slots=True)
class Crossing:
    """An occurrence as the books keep it, with the event that tells of it."""

    key: WindowKey
    mark_id: str
    occurrence: Occurrence
    event_id: UUID
    crossed_at: datetime
    resolved_at: datetime | None = None


class Register:
    """Takes turns in order, numbers what they cross, and keeps what the books are to be told."""

    def __init__(self, notes: Mapping[WindowKey, Notes], now: datetime) -> None:
        self._noted = {(key, mark): noted for key, by_mark in notes.items() for mark, noted in by_mark.items()}
        self._now = now
        self._made: dict[tuple[WindowKey, str, int], Crossing] = {}
        self.ended: set[tuple[WindowKey, str]] = set()
        """Marks whose open occurrence in the books is over; to be written before what was made."""

    @property
    def made(self) -> list[Crossing]:
        """New occurrences, some of them over already."""
        return list(self._made.values())

    def cross(
        self,
        place: tuple[WindowKey, str],
        limit_revision: int,
        event_id: UUID,
        *,
        provisional: bool,
        is_for_people: bool,
    ) -> Occurrence | None:
        """The mark's next occurrence; None where it is crossed already."""
        before = self._noted.get(place, Noted())
        if not before.lets_cross(limit_revision, provisional=provisional):
            return None
        self.resolve(place)
        made = before.next(limit_revision, self._now, provisional=provisional, is_for_people=is_for_people)
        told_at = self._now if made.notify_people else before.told_at
        self._noted[place] = Noted(made.number, made, told_at)
        self._made[*place, made.number] = Crossing(*place, made, event_id, self._now)
        return made

    def resolve(self, place: tuple[WindowKey, str]) -> Occurrence | None:
        """The mark's occurrence that ends; None where none is open."""
        before = self._noted.get(place, Noted())
        if before.open is None:
            return None
        self._noted[place] = replace(before, open=None)
        made = self._made.get((*place, before.open.number))
        if made is None:
            self.ended.add(place)
        else:
            self._made[*place, before.open.number] = replace(made, resolved_at=self._now)
        return before.open
