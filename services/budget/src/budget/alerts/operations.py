"""Telling the world what spending reached: one event per budget, window, limit revision, mark and occurrence.

The judgement is pure (`posting.marks_at`, `occurrences`). The caller holds the windows' locks, so that of several who
find the same mark the first notes it. The keys of `crossing` judge once more, in the transaction that moved the money.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from budget.accounts.rules import in_force
from budget.alerts.occurrences import Crossed, Notes, Occurrence, Register, turns
from budget.alerts.rules import EXHAUSTED, OVER_LIMIT, Threshold, highest, id_of
from budget.budgets.rules import Budget, Window, state
from budget.posting.rules import Course, Reached, marks_at, standing
from budget.shares.rules import WindowKey
from budget.unit import Unit
from farebox import topics
from farebox.events import (
    BalanceChanged,
    BudgetEvent,
    BudgetExhausted,
    BudgetOverLimit,
    BudgetState,
    CloudEvent,
    Envelope,
    Locale,
    ThresholdCrossed,
    ThresholdResolved,
)
from farebox.ids import new_id
from farebox.kafka import Message

SOURCE = "farebox/budget"


class _Common(TypedDict):
    """What the events of all marks carry."""

    budget: BudgetState
    locale: Locale
    notify_people: bool
    entry_id: UUID | None
    occurrence: int
    provisional: bool


@dataclass(frozen=True, slots=True)
class Left:
    """A mark that had been crossed and that spending is below again."""

    budget: Budget
    key: WindowKey
    mark_id: str
    spent: int
    entry_id: UUID | None


async def announce_courses(
    unit: Unit, courses: Sequence[Course], windows: Mapping[WindowKey, Window], now: datetime
) -> int:
    """Publish what a batch crossed and resolved, entry by entry; how many marks it crossed."""
    if not courses:
        return 0
    noted = await unit.books.noted([each.key for each in courses])
    return await _tell(unit, _all_turns(courses, noted, windows), noted, windows, now)


async def foresee_courses(
    unit: Unit, courses: Sequence[Course], windows: Mapping[WindowKey, Window], now: datetime
) -> list[BudgetEvent]:
    """What `announce_courses` would publish, in order; nothing is noted."""
    noted = await unit.books.noted([each.key for each in courses]) if courses else {}
    told = await _told(unit, Register(noted, now), _all_turns(courses, noted, windows), windows)
    return [event for _, _, event in told]


async def announce_reached(
    unit: Unit, reached: Sequence[Reached], windows: Mapping[WindowKey, Window], now: datetime
) -> int:
    """Publish the marks that are not noted as crossed under this limit revision yet; how many those were."""
    if not reached:
        return 0
    noted = await unit.books.noted({each.key for each in reached})
    return await _tell(unit, reached, noted, windows, now)


async def announce_resolved(unit: Unit, budget: Budget, window: Window, now: datetime) -> None:
    """Publish thresholds that had been crossed and no longer are: after a raise, a credit or a correction."""
    key = window.room.key
    still = {id_of(mark) for mark in marks_at(budget, window.thresholds(budget), window.room)}
    noted = await unit.books.noted([key])
    gone = sorted(mark for mark, each in noted.get(key, {}).items() if each.open and mark not in still)
    left = [Left(budget, key, mark, window.room.spent, None) for mark in gone]
    await _tell(unit, left, noted, {key: window}, now)


def all_reached(budget: Budget, window: Window) -> list[Reached]:
    """Every mark the window's spending has reached, for a change that is no posting (another limit, other marks)."""
    here = standing(budget, window.thresholds(budget), window.room)
    top = highest(here.posted)
    return [
        Reached(budget, window.room.key, mark, here.spent, mark is top, None, provisional=mark not in here.posted)
        for mark in here.reached
    ]


def refused(budget: Budget, window: Window, *, provisional: bool = False) -> Reached:
    """A hard budget turned a request away: it is exhausted, whatever small change is left.

    It is provisional if only what is in suspense stands in the way.
    """
    room = window.room
    return Reached(budget, room.key, EXHAUSTED, room.spent, is_highest=False, entry_id=None, provisional=provisional)


def balances(pairs: Iterable[tuple[Budget, Window]], now: datetime) -> list[Message]:
    """The newest state of windows, for the compacted topic.

    It keeps one record a budget, so a late posting to a window that is over must not take the present one's place.
    """
    return [
        _message(topics.BUDGET_BALANCES, BalanceChanged(budget=state(budget, window)), budget, new_id(), now)
        for budget, window in pairs
        if window.end is None or now < window.end
    ]


@dataclass(frozen=True, slots=True)
class _Audience:
    """How to speak to the people of an account, and whether alerts to them are on."""

    locale: Locale
    alerts: bool


class _Audiences:
    """Looked up once an account."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._known: dict[str, _Audience] = {}

    async def of(self, budget: Budget) -> _Audience:
        if budget.account.id not in self._known:
            settings = in_force(await self._unit.registry.path(budget.account.id))
            self._known[budget.account.id] = _Audience(settings.locale, settings.alerts)
        return self._known[budget.account.id]


def _all_turns(
    courses: Sequence[Course], noted: Mapping[WindowKey, Notes], windows: Mapping[WindowKey, Window]
) -> list[Reached | Left]:
    return [
        turn for each in courses for turn in _turns(each, noted.get(each.key, {}), windows[each.key].limit_revision)
    ]


def _turns(course: Course, notes: Notes, limit_revision: int) -> Iterable[Reached | Left]:
    budget, key = course.budget, course.key
    for turn in turns(notes, limit_revision, course.standings):
        entry_id, spent = course.entry_ids[turn.step], course.standings[turn.step + 1].spent
        if isinstance(turn, Crossed):
            yield Reached(budget, key, turn.mark, spent, turn.is_highest, entry_id, turn.provisional)
        else:
            yield Left(budget, key, turn.mark_id, spent, entry_id)


async def _tell(
    unit: Unit,
    found: Sequence[Reached | Left],
    noted: Mapping[WindowKey, Notes],
    windows: Mapping[WindowKey, Window],
    now: datetime,
) -> int:
    """Note what was crossed and what is over, and publish it in order; how many marks were crossed."""
    if not found:
        return 0
    register = Register(noted, now)
    told = await _told(unit, register, found, windows)
    await unit.books.end_crossings(register.ended, now)
    doubled = {each.event_id for each in register.made} - await unit.books.add_crossings(register.made)
    await unit.announce(
        [_message(topics.BUDGET_EVENTS, event, budget, id_, now) for id_, budget, event in told if id_ not in doubled]
    )
    return len(register.made) - len(doubled)


async def _told(
    unit: Unit, register: Register, found: Sequence[Reached | Left], windows: Mapping[WindowKey, Window]
) -> list[tuple[UUID, Budget, BudgetEvent]]:
    """The events of what is news, in order, under new ids; the register has what is to be noted."""
    audiences, told = _Audiences(unit), list[tuple[UUID, Budget, BudgetEvent]]()
    for each in found:
        event_id, audience = new_id(), await audiences.of(each.budget)
        if event := _noted(register, each, windows[each.key], audience, event_id):
            told.append((event_id, each.budget, event))
    return told


def _noted(
    register: Register, each: Reached | Left, window: Window, audience: _Audience, event_id: UUID
) -> BudgetEvent | None:
    """Take a turn into the register; the event that tells of it, if it is news."""
    place = (each.key, each.mark_id)
    if isinstance(each, Left):
        over = register.resolve(place)
        return _resolved(each, over, window, audience) if over else None
    is_for_people = audience.alerts and each.is_highest
    made = register.cross(
        place, window.limit_revision, event_id, provisional=each.provisional, is_for_people=is_for_people
    )
    return _crossed(each, made, window, audience.locale) if made else None


def _crossed(each: Reached, made: Occurrence, window: Window, locale: Locale) -> BudgetEvent:
    common: _Common = {
        "budget": state(each.budget, window, spent=each.spent),
        "locale": locale,
        "notify_people": made.notify_people,
        "entry_id": each.entry_id,
        "occurrence": made.number,
        "provisional": made.provisional,
    }
    match each.mark:
        case Threshold() as threshold:
            return ThresholdCrossed(**common, threshold=threshold.mark)
        case str() as mark if mark == OVER_LIMIT:
            return BudgetOverLimit(**common)
        case _:
            return BudgetExhausted(**common)


def _resolved(each: Left, over: Occurrence, window: Window, audience: _Audience) -> BudgetEvent | None:
    """People hear of the end of what they heard of. Only thresholds have an event for it."""
    by_id = {threshold.id: threshold for threshold in window.thresholds(each.budget)}
    if each.mark_id not in by_id:
        return None
    return ThresholdResolved(
        budget=state(each.budget, window, spent=each.spent),
        locale=audience.locale,
        notify_people=audience.alerts and over.notify_people,
        entry_id=each.entry_id,
        threshold=by_id[each.mark_id].mark,
        occurrence=over.number,
    )


def _message(topic: topics.Topic, event: CloudEvent, budget: Budget, event_id: UUID, now: datetime) -> Message:
    envelope = Envelope(event_id, SOURCE, now, budget.account.id, event)
    return Message.carrying(envelope, topic=topic.name, key=str(budget.budget_id))
