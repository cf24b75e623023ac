"""Telling the world what spending reached: one event per budget, window, limit revision and mark.

The judgement is pure (`posting.marks_at`); when several find the same mark, the primary key of `crossing` decides, in
the transaction that moved the money.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from budget.accounts.rules import in_force
from budget.alerts.rules import EXHAUSTED, OVER_LIMIT, Threshold
from budget.budgets.rules import Budget, Window, state
from budget.posting.rules import Reached, highest, marks_at
from budget.shares.rules import WindowKey
from budget.unit import Unit
from farebox import topics
from farebox.events import (
    BalanceChanged,
    BudgetEvent,
    BudgetExhausted,
    BudgetOverLimit,
    CloudEvent,
    Envelope,
    Locale,
    ThresholdCrossed,
    ThresholdResolved,
)
from farebox.ids import new_id
from farebox.kafka import Message

SOURCE = "farebox/budget"


async def announce_reached(
    unit: Unit, reached: Sequence[Reached], windows: Mapping[WindowKey, Window], now: datetime
) -> int:
    """Publish the marks that nobody has noted under this limit revision yet; how many those were."""
    if not reached:
        return 0
    noted = [(each, windows[each.key].limit_revision, new_id()) for each in reached]
    first = await unit.books.first_crossed(noted, now)
    audiences = _Audiences(unit)
    messages = []
    for each, _, event_id in noted:
        if event_id in first:
            locale, alerts = await audiences.of(each.budget)
            event = _event(each, windows[each.key], locale, notify_people=alerts and each.is_highest)
            messages.append(_message(topics.BUDGET_EVENTS, event, each.budget, event_id, now))
    await unit.announce(messages)
    return len(messages)


async def announce_resolved(unit: Unit, budget: Budget, window: Window, now: datetime) -> None:
    """Publish thresholds that had been crossed and no longer are: after a raise, a credit or a correction."""
    key = window.room.key
    still = {_id(mark) for mark in marks_at(budget, window.thresholds(budget), window.room)}
    gone = (await unit.books.open_marks([key])).get(key, set()) - still
    by_id = {threshold.id: threshold for threshold in window.thresholds(budget)}
    audiences = _Audiences(unit)
    for mark in sorted(gone):
        await unit.books.resolve(key, mark, now)
        if mark in by_id:
            locale, alerts = await audiences.of(budget)
            event = ThresholdResolved(
                budget=state(budget, window), locale=locale, notify_people=alerts, threshold=by_id[mark].mark
            )
            await unit.announce([_message(topics.BUDGET_EVENTS, event, budget, new_id(), now)])


def all_reached(budget: Budget, window: Window) -> list[Reached]:
    """Every mark the window's spending has reached, for a change that is no posting (another limit, other marks)."""
    marks = marks_at(budget, window.thresholds(budget), window.room)
    top = highest(marks)
    return [Reached(budget, window.room.key, mark, window.room.spent, mark is top, None) for mark in marks]


def refused(budget: Budget, window: Window) -> Reached:
    """A hard budget turned a request away: it is exhausted, whatever small change is left."""
    return Reached(budget, window.room.key, EXHAUSTED, window.room.spent, is_highest=False, entry_id=None)


def balances(pairs: Iterable[tuple[Budget, Window]], now: datetime) -> list[Message]:
    """The newest state of windows, for the compacted topic.

    It keeps one record a budget, so a late posting to a window that is over must not take the present one's place.
    """
    return [
        _message(topics.BUDGET_BALANCES, BalanceChanged(budget=state(budget, window)), budget, new_id(), now)
        for budget, window in pairs
        if window.end is None or now < window.end
    ]


class _Audiences:
    """How to speak to the people of a budget's account, looked up once an account."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._known: dict[str, tuple[Locale, bool]] = {}

    async def of(self, budget: Budget) -> tuple[Locale, bool]:
        """Their language and zone, and whether alerts to people are on."""
        if budget.account.id not in self._known:
            settings = in_force(await self._unit.registry.path(budget.account.id))
            self._known[budget.account.id] = (settings.locale, settings.alerts)
        return self._known[budget.account.id]


def _event(each: Reached, window: Window, locale: Locale, *, notify_people: bool) -> BudgetEvent:
    told = state(each.budget, window, spent=each.spent)
    match each.mark:
        case Threshold() as threshold:
            return ThresholdCrossed(
                budget=told,
                locale=locale,
                notify_people=notify_people,
                entry_id=each.entry_id,
                threshold=threshold.mark,
            )
        case str() as mark if mark == OVER_LIMIT:
            return BudgetOverLimit(budget=told, locale=locale, notify_people=notify_people, entry_id=each.entry_id)
        case _:
            return BudgetExhausted(budget=told, locale=locale, notify_people=notify_people, entry_id=each.entry_id)


def _id(mark: Threshold | str) -> str:
    return mark if isinstance(mark, str) else mark.id


def _message(topic: topics.Topic, event: CloudEvent, budget: Budget, event_id: UUID, now: datetime) -> Message:
    envelope = Envelope(event_id, SOURCE, now, budget.account.id, event)
    return Message.carrying(envelope, topic=topic.name, key=str(budget.budget_id))
