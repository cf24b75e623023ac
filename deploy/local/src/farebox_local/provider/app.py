"""The demo provider's HTTP side.

For callers `POST /v1/chat/completions`, `POST /v1/messages`, `GET /v1/models`; for tests `GET /bill` and
`GET|POST|DELETE /control`; for the supervisor `GET /healthz`.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from farebox.clock import Clock
from farebox.ids import new_id
from farebox_local.provider import anthropic_dialect, openai_dialect
from farebox_local.provider.asked import Asked
from farebox_local.provider.bill import Bill
from farebox_local.provider.dialect import Dialect
from farebox_local.provider.orders import Counts, Defaults, Fault, Order, count, order_of

_ATTEMPT_HEADER = "x-farebox-attempt"
_OWN_KEYS = "fbx_"
_MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "claude-haiku-4-5", "gemini-2.0-flash")
_REFUSING_FAULTS = {Fault.HTTP_500: 500, Fault.HTTP_429: 429}


class JSON(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class Parts(Response):
    """An answer sent in parts, with a pause before each but the first; cut off where it is not complete."""

    def __init__(self, parts: Iterator[bytes], *, media_type: str, pause_s: float, complete: bool) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._parts = parts
        self._pause_s = pause_s
        self._complete = complete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for index, part in enumerate(self._parts):
            if index and self._pause_s:
                await asyncio.sleep(self._pause_s)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        if self._complete:  # else the server drops the connection of an answer without an end
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class Silence(Response):
    """No answer at all, until the caller gives up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        while (await receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class _Sale:
    """One answer that was decided and billed."""

    dialect: Dialect
    asked: Asked
    order: Order
    counts: Counts
    answer_id: str
    created: int

    @property
    def with_usage(self) -> bool:
        return self.order.fault is not Fault.NO_USAGE

    def whole(self) -> dict[str, Any]:
        return self.dialect.answer(self.asked, self.counts, self.answer_id, self.created, with_usage=self.with_usage)

    def events(self, *, to_the_end: bool) -> Iterator[bytes]:
        parts = (self.asked, self.counts, self.answer_id, self.created)
        content = self.dialect.content_events(*parts)
        if not to_the_end:
            return content
        return chain(content, self.dialect.closing_events(*parts, with_usage=self.with_usage))


class Provider:
    """The provider's counter: takes an order, bills it, hands out the answer."""

    def __init__(self, bill: Bill, clock: Clock) -> None:
        self._bill = bill
        self._clock = clock
        self._defaults = Defaults()

    async def chat_completions(self, request: Request) -> Response:
        return await self._serve(request, openai_dialect)

    async def messages(self, request: Request) -> Response:
        return await self._serve(request, anthropic_dialect)

    async def models(self, _: Request) -> Response:
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "demo"} for name in _MODELS]
        return JSON({"object": "list", "data": rows})

    async def bill(self, request: Request) -> Response:
        return JSON({"items": self._bill.lines(request.query_params.get("request_id"))})

    async def control(self, request: Request) -> Response:
        """GET shows the defaults, POST changes the ones it names (null takes one back), DELETE takes back all."""
        if request.method == "DELETE":
            self._defaults = Defaults()
        elif request.method == "POST":
            try:
                change = orjson.loads(await request.body())
                self._defaults = Defaults.model_validate(self._defaults.model_dump() | change)
            except (ValidationError, orjson.JSONDecodeError, TypeError) as error:
                return JSON({"error": str(error)}, status_code=400)
        return JSON(self._defaults.model_dump(mode="json"))

    async def healthz(self, _: Request) -> Response:
        return JSON({"status": "ok"})

    async def _serve(self, request: Request, dialect: Dialect) -> Response:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if not key or key.startswith(_OWN_KEYS):
            return JSON(dialect.error(401, "a provider key is required"), status_code=401)
        raw = await request.body()
        try:
            body = orjson.loads(raw)
            if not isinstance(body, dict):
                raise ValueError("the body is no JSON object")  # noqa: TRY004 - one refusal for every wrong body
            asked = dialect.asked(body)
            order = order_of(request.headers, body, self._next_defaults())
            asked = replace(asked, model=order.served_model or asked.model)
        except ValueError as error:  # pydantic's and orjson's errors are ValueErrors too
            return JSON(dialect.error(400, str(error)), status_code=400)
        counts = count(order, text=asked.text, body_bytes=len(raw), max_tokens=asked.max_tokens, choices=asked.choices)
        return await self._sell(dialect, asked, order, counts, request.headers.get(_ATTEMPT_HEADER))

    async def _sell(
        self, dialect: Dialect, asked: Asked, order: Order, counts: Counts, request_id: str | None
    ) -> Response:
        sale = _Sale(dialect, asked, order, counts, new_id().hex, int(self._clock.now().timestamp()))
        status = _REFUSING_FAULTS.get(order.fault, 200) if order.fault else 200
        self._charge(sale, request_id, status)
        if order.latency_ms:
            await asyncio.sleep(order.latency_ms / 1000)
        if status != 200:
            headers = {"retry-after": "1"} if status == 429 else None
            return JSON(dialect.error(status, "ordered by the caller"), status_code=status, headers=headers)
        return _stream(sale) if asked.stream else _whole(sale)

    def _charge(self, sale: _Sale, request_id: str | None, status: int) -> None:
        billed = sale.counts if status == 200 else None
        self._bill.add(
            {
                "request_id": request_id,
                "user": sale.asked.user,
                "answer_id": sale.answer_id,
                "model": sale.asked.model,
                "dialect": sale.dialect.NAME,
                "prompt_tokens": billed.prompt if billed else 0,
                "cached_tokens": billed.cached if billed else 0,
                "completion_tokens": billed.completion if billed else 0,
                "stream": sale.asked.stream,
                "status": status,
                "fault": sale.order.fault,
                "at": self._clock.now().isoformat(),
            }
        )

    def _next_defaults(self) -> Defaults:
        """The defaults for one request; a fault that is due for a number of requests is used up once more."""
        defaults = self._defaults
        if defaults.fault_times is not None:
            left = defaults.fault_times - 1
            change = {"fault_times": left} if left else {"fault_times": None, "fault": None}
            self._defaults = defaults.model_copy(update=change)
        return defaults


def _whole(sale: _Sale) -> Response:
    body = orjson.dumps(sale.whole())
    match sale.order.fault:
        case Fault.HANG:
            return Silence()
        case Fault.MALFORMED:
            return Response(body[: len(body) // 2], media_type="application/json")
        case Fault.CUT_BEFORE_USAGE:
            half = iter((body[: len(body) // 2],))
            return Parts(half, media_type="application/json", pause_s=0, complete=False)
        case _:
            return Response(body, media_type="application/json")


def _stream(sale: _Sale) -> Response:
    pause_s = (sale.order.chunk_delay_ms or 0) / 1000
    fault = sale.order.fault
    if fault is Fault.HANG:
        return Silence()
    events = sale.events(to_the_end=fault is not Fault.CUT_BEFORE_USAGE)
    if fault is Fault.MALFORMED:
        events = chain((b'data: {"choices": [{"del\n\n',), events)
    complete = fault is not Fault.CUT_BEFORE_USAGE
    return Parts(events, media_type="text/event-stream", pause_s=pause_s, complete=complete)


def build(bill: Bill, clock: Clock) -> Starlette:
    """The provider as an ASGI application."""
    provider = Provider(bill, clock)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", provider.chat_completions, methods=["POST"]),
            Route("/v1/messages", provider.messages, methods=["POST"]),
            Route("/v1/models", provider.models),
            Route("/bill", provider.bill),
            Route("/control", provider.control, methods=["GET", "POST", "DELETE"]),
            Route("/healthz", provider.healthz),
        ]
    )
