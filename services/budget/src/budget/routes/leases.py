"""`/internal/v1`: what gateways say and ask. Never reachable through `/api`."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.leases import Leases
from farebox.auth import Role
from farebox.http import JSON, body, caller
from farebox.leasing import GrantRequest, Heartbeat, StartRequest


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

    return [
        Route("/internal/v1/starts", start, methods=["POST"]),
        Route("/internal/v1/grants", grant, methods=["POST"]),
        Route("/internal/v1/heartbeats", heartbeat, methods=["POST"]),
    ]
