"""`/api/uncertain`: what providers may have billed beyond a charge, and an operator's word that they did not."""

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.administration import Body, Label, administers, amount_text, identified
from budget.alerts.operations import balances
from budget.store import Store
from budget.store.rows import OpenUncertain
from farebox.clock import Clock
from farebox.errors import NotFound
from farebox.http import JSON, body, caller

SHOWN_MAX: Final = 1_000


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
    now = clock.now()
    async with store.transaction() as unit:
        keys = {key for _, key in await unit.books.uncertain_of([attempt_id])}
        windows = await unit.books.lock(keys) if keys else {}
        left = await unit.books.uncertain_of([attempt_id]) if windows else {}  # again: it holds only under the locks
        if not left:
            raise NotFound(f"nothing of attempt {attempt_id} is uncertain")
        after = {
            key: windows[key].with_room(windows[key].room.moved(uncertain=-amount)) for (_, key), amount in left.items()
        }
        await unit.books.save(after)
        await unit.books.end_uncertain([attempt_id], now, reason)
        budgets = await unit.registry.budgets_named({budget_id for budget_id, _ in after})
        await unit.announce(balances([(budgets[key[0]], window) for key, window in after.items()], now))
    return len(left)


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
