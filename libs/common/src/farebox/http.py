"""HTTP as the services speak it among themselves and behind `/api`: who calls, what went wrong, how they are."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ExceptionHandler

from farebox.auth import Caller, verify
from farebox.errors import FareboxError, Invalid, sentences

log = structlog.get_logger()

BODY_LIMIT_BYTES: Final = 1 << 20
"""Bodies of service and administrative calls; the gateway's own limit for model calls is a setting."""

Problems = Callable[[], list[str]]
ProblemsNow = Callable[[], Awaitable[list[str]]]
ModelT = TypeVar("ModelT", bound=BaseModel)


class TooLarge(FareboxError):
    """The body is over the limit."""

    code = "body_too_large"
    status = 413


class JSON(Response):
    """A JSON answer; pydantic models and Decimals serialise as their JSON form."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        if isinstance(content, BaseModel):  # a beat's answer has thousands of parts
            return content.__pydantic_serializer__.to_json(content)
        return orjson.dumps(content, default=_encode)


def _encode(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)


def error_response(error: FareboxError) -> JSON:
    """`{"error": {"code", "message", "problems"}}` under the error's own status."""
    body: dict[str, object] = {"code": error.code, "message": str(error)}
    if isinstance(error, Invalid):
        body["problems"] = list(error.problems)
    headers = {"retry-after": "1"} if error.retryable else None
    return JSON({"error": body}, status_code=error.status, headers=headers)


def api(routes: Sequence[BaseRoute], *, secret: str) -> Starlette:
    """A service's own API: errors of the tree become answers, anything else a 500 without its text.

    Endpoints ask `caller(request)` who is calling.
    """

    async def farebox_error(_: Request, error: Exception) -> Response:
        return error_response(error) if isinstance(error, FareboxError) else await unexpected(_, error)

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request_failed", path=request.url.path, error=type(error).__name__, exc_info=error)
        return error_response(FareboxError("an unexpected error; the log has it"))

    handlers: dict[Any, ExceptionHandler] = {FareboxError: farebox_error, Exception: unexpected}
    app = Starlette(routes=list(routes), exception_handlers=handlers)
    app.state.service_secret = secret
    return app


def caller(request: Request) -> Caller:
    """The authenticated caller. Raises Unauthenticated."""
    return verify(request.app.state.service_secret, request.headers.get("authorization"))


async def body(request: Request, model: type[ModelT]) -> ModelT:
    """The request's JSON body as `model`. Raises TooLarge, or Invalid with a sentence for every problem."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_LIMIT_BYTES:
            raise TooLarge(f"the body is over {BODY_LIMIT_BYTES} bytes")
    return parsed(model, bytes(raw))


def parsed(model: type[ModelT], raw: bytes) -> ModelT:
    """JSON bytes as `model`. Raises Invalid with a sentence for every problem."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise Invalid(sentences(error)) from None


def health_routes(*, live: Problems, ready: ProblemsNow) -> list[BaseRoute]:
    """`/healthz/live` (this process cannot go on: restart it) and `/healthz/ready` (do not send it work)."""

    async def liveness(_: Request) -> Response:
        return _health(live())

    async def readiness(_: Request) -> Response:
        return _health(live() or await ready())

    return [Route("/healthz/live", liveness), Route("/healthz/ready", readiness)]


def _health(problems: list[str]) -> Response:
    status = "unhealthy" if problems else "ok"
    return JSON({"status": status, "problems": problems}, status_code=503 if problems else 200)


def ops(health: Sequence[BaseRoute]) -> Starlette:
    """What operators see of a process, on a port of its own: health and Prometheus metrics."""

    def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[*health, Route("/metrics", metrics)])
