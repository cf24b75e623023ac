"""What providers may have billed beyond a charge, until an operator says that they did not (`/api/uncertain`).

An account may choose to keep it for so long only.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget import metrics
from budget.administration import Body, Label, administers, amount_text, identified
from budget.alerts.operations import balances
from budget.budgets.rules import Budget
from budget.shares.rules import WindowKey
from budget.store import Store, Unit
from budget.store.rows import OpenUncertain
from farebox.clock import Clock
from farebox.errors import NotFound
from farebox.http import JSON, body, caller

SHOWN_MAX: Final = 1_000
BATCH: Final = 200
TIME_IS_OVER: Final = "uncertain_for_s"
"""Why an uncertain amount ended: its account keeps it for so long only."""


class End(Body):
    """Body of POST /api/uncertain/{attempt_id}/end: why it is known that the charge is all that was billed."""

    reason: Label


def uncertain_routes(store: Store, clock: Clock, wake: Callable[[], None]) -> Sequence[BaseRoute]:
    async def show(request: Request) -> Response:
        administers(caller(request))
        async with store.transaction() as unit:
            rows = await unit.books.open_uncertain(SHOWN_MAX)
        return JSON({"items": [_shown(row) for row in rows], "next_cursor": None})

    async def end(request: Request) -> Response:
        administers(caller(request))
        wanted = await body(request, End)
        attempt_id = identified(request, "attempt_id")
        ended = await end_uncertain(store, attempt_id, wanted.reason, clock)
        wake()
        return JSON({"attempt_id": attempt_id, "ended": ended})

    return [
        Route("/api/uncertain", show, methods=["GET"]),
        Route("/api/uncertain/{attempt_id}/end", end, methods=["POST"]),
    ]


async def end_uncertain(store: Store, attempt_id: UUID, reason: str, clock: Clock) -> int:
    """Free what an attempt keeps from its windows; of how many. Raises NotFound where nothing of it is open."""
    async with store.transaction() as unit:
        open_ = await unit.books.uncertain_of([attempt_id])
        ended = await _end(unit, set(open_), clock.now(), reason)
        if not ended:
            raise NotFound(f"nothing of attempt {attempt_id} is uncertain")
    return len(ended)


async def free_uncertain(store: Store, clock: Clock) -> int:
    """Free what counts for longer than its account's `uncertain_for_s`; how many amounts.

    What was billed of them after all is then above what the guarantee of hard budgets allows for: it is counted.
    """
    freed = 0
    while True:
        now = clock.now()
        async with store.transaction() as unit:
            over = await unit.books.uncertain_over(now, BATCH)
            ended = await _end(unit, over, now, TIME_IS_OVER)
        for budget, amount in ended:
            metrics.UNCERTAIN_FREED.labels(budget.measure).inc()
            metrics.UNCERTAIN_FREED_AMOUNT.labels(budget.measure, budget.currency or "").inc(amount)
        freed += len(ended)
        if len(over) < BATCH:
            return freed


async def _end(
    unit: Unit, wanted: Collection[tuple[UUID, WindowKey]], now: datetime, note: str
) -> list[tuple[Budget, int]]:
    """The amounts that were still open, with their budgets. Which they are is known only under the windows' locks."""
    windows = await unit.books.lock({key for _, key in wanted}) if wanted else {}
    open_ = await unit.books.uncertain_of({attempt for attempt, _ in wanted}) if windows else {}
    ended = {each: amount for each, amount in open_.items() if each in wanted}
    if not ended:
        return []
    freed: Counter[WindowKey] = Counter()
    for (_, key), amount in ended.items():
        freed[key] += amount
    after = {key: windows[key].with_room(windows[key].room.moved(uncertain=-amount)) for key, amount in freed.items()}
    await unit.books.save(after)
    await unit.books.end_some_uncertain(ended, now, note)
    budgets = await unit.registry.budgets_named({budget_id for budget_id, _ in after})
    await unit.announce(balances([(budgets[key[0]], window) for key, window in after.items()], now))
    return [(budgets[key[0]], amount) for (_, key), amount in ended.items()]


def _shown(row: OpenUncertain) -> dict[str, object]:
    return {
        "attempt_id": row.attempt_id,
        "account": row.account_id,
        "budget_id": row.budget_id,
        "budget": row.budget_name,
        "window_start": row.window_start,
        "uncertain": amount_text(row.amount, row.currency),
        "currency": row.currency,
        "noted_at": row.noted_at,
    }
