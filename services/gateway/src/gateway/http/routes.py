"""The gateway's paths: model calls, the list of models, `/api`."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from farebox.auth import key_hash
from farebox.errors import FareboxError
from farebox.http import JSON
from farebox.matching import is_allowed
from gateway.admission.reservations import Reservations
from gateway.errors import NoKey
from gateway.http.model_calls import key_of
from gateway.http.proxy import Proxy
from gateway.policy.prices import Prices
from gateway.refusals import refusals
from gateway.refusals.refusals import Refusal
from gateway.upstreams.directory import Dialect, Directory

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PATH_CHARS_MAX: Final = 256


class Front:
    """Model calls go straight to their endpoint, by exact path; everything else is `inner`'s, a Starlette application.

    Its router and the `send` of its middleware would cost each call, and each chunk of a stream, more than admission
    does (docs/decisions/0011).
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], inner: ASGIApp) -> None:
        self._model_calls = dict(endpoints)
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._model_calls.get(scope["path"])
        await (endpoint or self._inner)(scope, receive, send)


def routes(*, directory: Directory, reservations: Reservations, prices: Prices, proxy: Proxy) -> Sequence[BaseRoute]:
    """What is not a model call."""

    async def models(request: Request) -> Response:
        shown = key_of(dict(request.headers.raw))
        try:
            if shown is None:
                raise NoKey("send your API key as `Authorization: Bearer …`")
            key_policy = await reservations.key_policy(key_hash(shown))
        except FareboxError as error:
            return _refused(refusals.of(error))
        priced = [(u.provider, prices.models(u.provider, key_policy.who.org)) for u in directory.upstreams]
        settings = key_policy.settings
        providers = {u.name: u.provider for u in directory.upstreams}
        rows = [
            {"id": model, "object": "model", "created": 0, "owned_by": owner}
            for model, owner in directory.models(priced)
            if is_allowed(providers[owner], model, settings.allowed_models, settings.blocked_models)
        ]
        return JSON({"object": "list", "data": rows})

    async def nothing(request: Request) -> Response:
        path = request.url.path
        return _refused(
            refusals.no_endpoint(request.method, path[:PATH_CHARS_MAX]), "anthropic" if "messages" in path else "openai"
        )

    return [
        Route("/v1/models", models, methods=["GET"]),
        Route("/api/{path:path}", proxy.__call__, methods=_METHODS),
        Route("/{path:path}", nothing, methods=_METHODS),
    ]


def _refused(refusal: Refusal, dialect: Dialect = "openai") -> Response:
    headers = {**refusal.headers, "content-type": "application/json"}
    return Response(refusal.body(dialect), refusal.status, headers)
