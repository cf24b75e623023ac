"""`/internal/v1`: what gateways say and ask, never reachable through `/api`; and what operators do about lost ones."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.administration import Body, Label, administers, amount_text, identified
from budget.shares.operations import Leases
from budget.store.books import SuspendedShare
from farebox.auth import Role
from farebox.http import JSON, body, caller
from farebox.leasing import GrantRequest, Heartbeat, StartRequest


class Release(Body):
    """Body of POST /api/suspended-leases/{lease_id}/release: why it is known that nothing of it was spent."""

    reason: Label


def lease_routes(leases: Leases) -> Sequence[BaseRoute]:
    async def start(request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        return JSON(await leases.start(await body(request, StartRequest)))

    async def grant(request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        return JSON(await leases.grant(await body(request, GrantRequest)))

    async def heartbeat(request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        return JSON(await leases.heartbeat(await body(request, Heartbeat)))

    async def show_suspended(request: Request) -> Response:
        administers(caller(request))
        items = [_shown(share) for share in await leases.suspended()]
        return JSON({"items": items, "next_cursor": None})

    async def release(request: Request) -> Response:
        administers(caller(request))
        wanted = await body(request, Release)
        await leases.release(identified(request, "lease_id"), wanted.reason)
        return JSON({"lease_id": request.path_params["lease_id"], "released": True})

    return [
        Route("/api/suspended-leases", show_suspended, methods=["GET"]),
        Route("/api/suspended-leases/{lease_id}/release", release, methods=["POST"]),
        Route("/internal/v1/starts", start, methods=["POST"]),
        Route("/internal/v1/grants", grant, methods=["POST"]),
        Route("/internal/v1/heartbeats", heartbeat, methods=["POST"]),
    ]


def _shown(share: SuspendedShare) -> dict[str, object]:
    return {
        "lease_id": share.lease_id,
        "gateway": share.gateway_id,
        "epoch": share.epoch,
        "key_id": share.key_id,
        "granted_at": share.granted_at,
        "suspended_at": share.suspended_at,
        "budget_id": share.budget_id,
        "budget": share.budget_name,
        "window_start": share.window_start,
        "held": amount_text(share.held, share.currency),
        "currency": share.currency,
    }
