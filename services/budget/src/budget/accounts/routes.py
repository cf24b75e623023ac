"""`/api/accounts`: the tree, and the settings that come down it."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.accounts.rules import Account, AccountSettings, in_force, misplaced
from budget.administration import AccountId, Administration, Body, Label, administers
from budget.store import Unit
from farebox.errors import FareboxError, Invalid
from farebox.events.usage import Name
from farebox.http import JSON, body, caller
from farebox.money import require_currency


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no IANA time zone") from None
    return name


def _known_currency(code: str) -> str:
    try:
        return require_currency(code)
    except FareboxError as error:
        raise ValueError(str(error)) from None


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('must be a decimal string, such as "24167"')  # noqa: TRY004 - pydantic's protocol
    return value


Zone = Annotated[str, AfterValidator(_known_zone)]
CurrencyCode = Annotated[str, AfterValidator(_known_currency)]
Rate = Annotated[Decimal, BeforeValidator(_text), Field(gt=0, max_digits=30, decimal_places=12)]


class Settings(Body):
    """What an account may set for itself; what it leaves out comes from its parent."""

    currency: CurrencyCode | None = None
    fx_rate: Rate | None = None
    fx_source: Name | None = None
    fx_date: date | None = None
    language: Literal["vi", "ko", "en"] | None = None
    zone: Zone | None = None
    clamp: bool | None = None
    min_output_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    default_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    allowed_models: tuple[Name, ...] | None = None
    blocked_models: tuple[Name, ...] | None = None
    alerts: bool | None = None
    uncertain_for_s: Annotated[int, Field(ge=0, le=31_622_400)] | None = None

    def terms(self, today: date) -> AccountSettings:
        """As stored. Raises Invalid for a currency without its rate."""
        is_usd = self.currency == "USD"
        if is_usd and self.fx_rate not in {None, Decimal(1)}:
            raise Invalid("fx_rate: one USD is one USD")
        if not is_usd and (self.currency is None) != (self.fx_rate is None):
            raise Invalid("fx_rate: currency and fx_rate are set together: units of the currency for one USD")
        rate = Decimal(1) if is_usd else self.fx_rate
        return AccountSettings(
            currency=self.currency,
            fx_rate=rate,
            fx_source=(self.fx_source or "account") if self.currency else self.fx_source,
            fx_date=(self.fx_date or today) if self.currency else self.fx_date,
            language=self.language,
            zone=self.zone,
            clamp=self.clamp,
            min_output_tokens=self.min_output_tokens,
            default_output_tokens=self.default_output_tokens,
            allowed_models=self.allowed_models,
            blocked_models=self.blocked_models,
            alerts=self.alerts,
            uncertain_for_s=self.uncertain_for_s,
        )


class NewAccount(Settings):
    """Body of POST /api/accounts."""

    id: AccountId
    kind: Literal["org", "team", "user"]
    parent: AccountId
    name: Label


class AccountChange(Settings):
    """Body of PATCH /api/accounts/{id}; what is left out stays."""

    name: Label | None = None


def account_routes(administration: Administration) -> Sequence[BaseRoute]:
    async def create(request: Request) -> Response:
        administers(caller(request))
        new = await body(request, NewAccount)
        terms = new.terms(administration.clock.now().date())
        async with administration.store.transaction() as unit:
            parents = await unit.registry.path(new.parent)
            if problem := misplaced(new.kind, parents[-1].kind):
                raise Invalid(problem)
            if terms.currency:
                await _same_currency(unit, (*parents[-1].path, new.id), terms.currency)
            await unit.registry.add_account(new.id, new.kind, new.parent, new.name, terms)
            path = await unit.registry.path(new.id)
        return JSON(_shown(path), status_code=201)

    async def change(request: Request) -> Response:
        administers(caller(request))
        wanted = await body(request, AccountChange)
        account_id = request.path_params["account_id"]
        terms = wanted.terms(administration.clock.now().date())
        async with administration.store.transaction() as unit:
            path = await unit.registry.path(account_id)
            if terms.currency:
                await _same_currency(unit, path[-1].path, terms.currency)
            await unit.registry.change_account(account_id, wanted.name, terms)
            await administration.announce_change(unit, account_id)
            path = await unit.registry.path(account_id)
        administration.wake()
        return JSON(_shown(path))

    async def show(request: Request) -> Response:
        administers(caller(request))
        async with administration.store.transaction() as unit:
            return JSON(_shown(await unit.registry.path(request.path_params["account_id"])))

    async def show_all(request: Request) -> Response:
        administers(caller(request))
        async with administration.store.transaction() as unit:
            accounts = await unit.registry.children(request.query_params.get("parent"))
        items = [{"id": a.account_id, "kind": a.kind, "path": a.path, "name": a.name} for a in accounts]
        return JSON({"items": items, "next_cursor": None})

    return [
        Route("/api/accounts", create, methods=["POST"]),
        Route("/api/accounts", show_all, methods=["GET"]),
        Route("/api/accounts/{account_id}", show, methods=["GET"]),
        Route("/api/accounts/{account_id}", change, methods=["PATCH"]),
    ]


async def _same_currency(unit: Unit, path: tuple[str, ...], currency: str) -> None:
    """Raises Invalid where a money budget on the path, or below, counts in another currency: it could never post."""
    if budget := await unit.registry.foreign_budget(path, currency):
        raise Invalid(f"currency: the budget {budget} applies here and counts in another currency than {currency}")


def _shown(path: Sequence[Account]) -> dict[str, object]:
    account, settings = path[-1], in_force(path)
    return {
        "id": account.account_id,
        "kind": account.kind,
        "path": account.path,
        "name": account.name,
        "revision": account.revision,
        "settings": {name: getattr(settings, name) for name in AccountSettings.__slots__},
    }
