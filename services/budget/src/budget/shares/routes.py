"""`/internal/v2`: what gateways say and ask, never reachable through `/api`; and what operators do about lost ones."""

from collections.abc import Sequence
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.administration import Body, Label, administers, amount_text
from budget.errors import Fenced
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.store.rows import SuspendedShare
from farebox.auth import Role
from farebox.http import JSON, body, caller
from farebox.shares import Beat, RaiseRequest, StartRequest


class Release(Body):
    """Body of POST /api/suspended-shares/release: whose, and why it is known that nothing of it was spent."""

    gateway: Label
    epoch: int
    budget_id: UUID | None = None
    reason: Label


def share_routes(shares: Shares, raises: Raises) -> Sequence[BaseRoute]:
    async def start(request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        return JSON(await shares.start(await body(request, StartRequest)))

    async def raise_shares(request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        return JSON(await raises.answer(await body(request, RaiseRequest)))

    async def beat(request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        return JSON(await shares.beat(await body(request, Beat)))

    async def drain(request: Request) -> Response:
        """A gateway of the version before speaks of leases: it is to end, and be replaced."""
        caller(request).require(Role.SERVICE)
        raise Fenced("leases are over: replace this gateway by the version that holds shares")

    async def show_suspended(request: Request) -> Response:
        administers(caller(request))
        items = [_shown(share) for share in await shares.suspended()]
        return JSON({"items": items, "next_cursor": None})

    async def release(request: Request) -> Response:
        administers(caller(request))
        wanted = await body(request, Release)
        released = await shares.release(wanted.gateway, wanted.epoch, wanted.reason, wanted.budget_id)
        return JSON({"gateway": wanted.gateway, "epoch": wanted.epoch, "released_shares": released})

    return [
        Route("/api/suspended-shares", show_suspended, methods=["GET"]),
        Route("/api/suspended-shares/release", release, methods=["POST"]),
        Route("/internal/v2/starts", start, methods=["POST"]),
        Route("/internal/v2/raises", raise_shares, methods=["POST"]),
        Route("/internal/v2/beats", beat, methods=["POST"]),
        *(Route(f"/internal/v1/{name}", drain, methods=["POST"]) for name in ("starts", "grants", "heartbeats")),
    ]


def _shown(share: SuspendedShare) -> dict[str, object]:
    return {
        "gateway": share.gateway_id,
        "epoch": share.epoch,
        "suspended_at": share.suspended_at,
        "account": share.account_id,
        "budget_id": share.budget_id,
        "budget": share.budget_name,
        "window_start": share.window_start,
        "held": amount_text(share.held, share.currency),
        "currency": share.currency,
    }
