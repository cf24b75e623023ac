"""`POST /api/budgets/preview`: what posting some ledger entries would change, by the rules of posting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.administration import Body, administers, amount_text
from budget.alerts.operations import foresee_courses
from budget.alerts.rules import mark_id
from budget.budgets.routes import shown_balance
from budget.budgets.rules import Budget, Window, fresh_window
from budget.posting.rules import LeftOut, Tally, apply, settle_at_once, tally
from budget.shares.rules import WindowKey
from budget.store import Store, Unit
from farebox.clock import Clock
from farebox.events import ThresholdCrossed, ThresholdResolved, UsagePriced
from farebox.events.budget import BudgetEvent, MarkCrossed
from farebox.http import JSON, body, caller


class Preview(Body):
    """Body of POST /api/budgets/preview: `events` of `usage.priced`, as a dry run of a correction answers them."""

    events: Annotated[tuple[UsagePriced, ...], Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Every window touched, as it is and as it would be; what would be told; and which budgets count nothing."""

    tallies: Sequence[Tally]
    before: Mapping[WindowKey, Window]
    after: Mapping[WindowKey, Window]
    alerts: Sequence[BudgetEvent]
    left: Sequence[LeftOut]


def preview_routes(store: Store, clock: Clock) -> Sequence[BaseRoute]:
    async def preview(request: Request) -> Response:
        administers(caller(request))
        wanted = await body(request, Preview)
        async with store.transaction() as unit:
            return JSON(_shown(await foresee(unit, wanted.events, clock.now())))

    return [Route("/api/budgets/preview", preview, methods=["POST"])]


async def foresee(unit: Unit, events: Sequence[UsagePriced], now: datetime) -> Foreseen:
    """What posting these would do by now. What was posted before, or waits for its price, does nothing."""
    entries = {event.entry_id: event for event in events if event.suspense is None}
    for entry_id in await unit.books.posted(entries):
        del entries[entry_id]
    fresh = list(entries.values())
    budgets = await unit.registry.budgets_of({account for entry in fresh for account in entry.principal.path()})
    leases = await unit.books.leases({entry.lease.lease_id for entry in fresh if entry.lease and not entry.held})
    open_ = await unit.books.uncertain_of({entry.attempt_id for entry in fresh if entry.kind == "correction"})
    tallies, left = tally(fresh, budgets, leases, open_)
    settle_at_once(tallies.values(), await unit.books.corrected({entry.attempt_id for entry in fresh}))
    known = await unit.books.read(tallies)
    before = {key: known.get(key) or fresh_window(each.budget, each.span) for key, each in tallies.items()}
    keys = [key for each in tallies.values() for key in each.shares()]
    shares = {share.key: share for share in await unit.books.shares_named(keys)}
    outcome = apply(tallies.values(), before, shares, open_)
    alerts = await foresee_courses(unit, outcome.courses, outcome.windows, now)
    return Foreseen(list(tallies.values()), before, outcome.windows, alerts, left)


def _shown(foreseen: Foreseen) -> dict[str, object]:
    return {
        "balances": [
            {
                "before": shown_balance(each.budget, foreseen.before[each.key]),
                "after": shown_balance(each.budget, foreseen.after[each.key]),
            }
            for each in foreseen.tallies
        ],
        "alerts": [_alert(event) for event in foreseen.alerts],
        "left_out": [
            {**_named(each.budget), "entry_id": each.entry_id, "billed_in": each.currency} for each in foreseen.left
        ],
    }


def _alert(event: BudgetEvent) -> dict[str, Any]:
    state = event.budget
    shown: dict[str, Any] = {
        "type": event.type,
        "budget_id": state.budget_id,
        "name": state.budget_name,
        "window_start": state.window.start,
        "spent": amount_text(state.spent, state.currency),
        "notify_people": event.notify_people,
    }
    if isinstance(event, ThresholdCrossed | ThresholdResolved):
        shown |= {"severity": event.threshold.severity, "mark": mark_id(event.threshold)}
    if isinstance(event, MarkCrossed):
        shown |= {"occurrence": event.occurrence, "provisional": event.provisional}
    return shown


def _named(budget: Budget) -> dict[str, object]:
    return {"budget_id": budget.budget_id, "name": budget.name, "currency": budget.currency}
