"""Metering's part of `/api`: usage, charges, prices, suspense."""

from datetime import timedelta
from typing import Annotated, Final, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    RootModel,
    StringConstraints,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from farebox.auth import Caller, Role
from farebox.clock import Clock
from farebox.errors import Forbidden, NotFound
from farebox.http import JSON, body, caller, parsed
from metering.explanation import explanation
from metering.prices import Prices
from metering.span import Span
from metering.store import Store
from metering.summary import By, groups, summary

PLATFORM: Final = "platform"
"""The account above all others, whose usage is everyone's."""

SPAN_DEFAULT: Final = timedelta(days=30)
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000

Account = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
PageSize = Annotated[int, Field(ge=1, le=PAGE_MAX)]


def _midnight(value: object) -> object:
    """A date means its beginning, in UTC."""
    return f"{value}T00:00:00Z" if isinstance(value, str) and len(value) == len("2026-01-31") else value


Instant = Annotated[AwareDatetime, BeforeValidator(_midnight)]


class Query(BaseModel):
    """A query string: a parameter nobody knows is refused, never dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SummaryQuery(Query):
    """Of GET /api/usage/summary. The last 30 days unless told otherwise."""

    account: Account | None = None
    start: Instant | None = Field(default=None, alias="from")
    end: Instant | None = Field(default=None, alias="to")
    by: By | None = None


class PricesQuery(Query):
    """Of GET /api/prices."""

    provider: Account | None = None
    model: Account | None = None
    cursor: Annotated[int, Field(ge=0, lt=2**63)] = 0
    limit: PageSize = PAGE_DEFAULT


class SuspenseQuery(Query):
    """Of GET /api/suspense."""

    state: Literal["open", "settled"] = "open"
    cursor: UUID = UUID(int=0)
    limit: PageSize = PAGE_DEFAULT


class PriceEnd(BaseModel):
    """Body of POST /api/prices/{id}/end: from when on the price does not hold; left out, from as soon as can be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effective_to: Instant | None = None


class NewPrice(RootModel[dict[str, JsonValue]]):
    """Body of POST /api/prices: a PriceRow without id; `effective_from` and `source` may be left out."""


QueryT = TypeVar("QueryT", bound=Query)


class Api:
    """One method an endpoint."""

    def __init__(self, store: Store, prices: Prices, clock: Clock) -> None:
        self._store = store
        self._prices = prices
        self._clock = clock

    async def usage(self, request: Request) -> Response:
        scope = visible(caller(request))
        asked = query(request, SummaryQuery)
        end = asked.end or self._clock.now()
        span = Span.covering(asked.start or end - SPAN_DEFAULT, end)
        accounts = [*scope, *([asked.account] if asked.account not in (None, PLATFORM) else [])]
        total, unpriced = await self._store.usage(accounts, span)
        shown = {"account": asked.account or next(iter(scope), PLATFORM), **summary(span, total, unpriced)}
        if asked.by is not None:
            shown |= groups(asked.by, await self._store.usage_by(asked.by, accounts, span))
        return JSON(shown)

    async def charge(self, request: Request) -> Response:
        scope = visible(caller(request))
        try:
            request_id = UUID(request.path_params["request_id"])
        except ValueError:
            raise NotFound("a request's id is a UUID") from None
        entries, waiting = await self._store.charges(request_id, scope)
        if not entries and not waiting:
            raise NotFound(f"no charge of request {request_id} is known")
        return JSON(explanation(request_id, entries, waiting))

    async def list_prices(self, request: Request) -> Response:
        caller(request).require(Role.PLATFORM_ADMIN)
        asked = query(request, PricesQuery)
        found, cursor = await self._store.list_prices(
            asked.provider, asked.model, after=asked.cursor, limit=asked.limit
        )
        answer: dict[str, object] = {"items": found, "next_cursor": cursor}
        if asked.provider and asked.model:
            answer["in_force"] = await self._prices.in_force(asked.provider, asked.model)
        return JSON(answer)

    async def add_price(self, request: Request) -> Response:
        caller(request).require(Role.PLATFORM_ADMIN)
        wanted = (await body(request, NewPrice)).root
        return JSON(await self._prices.add(wanted), status_code=201)

    async def end_price(self, request: Request) -> Response:
        caller(request).require(Role.PLATFORM_ADMIN)
        asked = await body(request, PriceEnd)
        return JSON(await self._prices.end(request.path_params["id"], asked.effective_to))

    async def suspense(self, request: Request) -> Response:
        caller(request).require(Role.PLATFORM_ADMIN)
        asked = query(request, SuspenseQuery)
        found, cursor = await self._store.list_suspense(
            is_open=asked.state == "open", after=asked.cursor, limit=asked.limit
        )
        return JSON({"items": found, "next_cursor": cursor})


def routes(store: Store, prices: Prices, clock: Clock) -> list[BaseRoute]:
    api = Api(store, prices, clock)
    return [
        Route("/api/usage/summary", api.usage, methods=["GET"]),
        Route("/api/charges/{request_id}", api.charge, methods=["GET"]),
        Route("/api/prices", api.list_prices, methods=["GET"]),
        Route("/api/prices", api.add_price, methods=["POST"]),
        Route("/api/prices/{id}/end", api.end_price, methods=["POST"]),
        Route("/api/suspense", api.suspense, methods=["GET"]),
    ]


def visible(who: Caller) -> list[str]:
    """The accounts that must be on the path of whatever this caller sees; none for an administrator.

    Raises Forbidden for a token that is neither an administrator's nor a viewer's with an account.
    """
    who.require(Role.PLATFORM_ADMIN, Role.VIEWER)
    if who.role is Role.PLATFORM_ADMIN:
        return []
    if who.account is None:
        raise Forbidden("this token names no account")
    return [who.account]


def query(request: Request, model: type[QueryT]) -> QueryT:
    """The query string as `model`. Raises Invalid with a sentence for every problem."""
    return parsed(model, orjson.dumps(dict(request.query_params)))
