"""`/api/budgets` and `/api/balances`: limits, and how much of them is left."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.accounts.routes import Zone
from budget.accounts.rules import in_force
from budget.administration import (
    AccountId,
    Administration,
    Body,
    Label,
    administers,
    amount_text,
    identified,
    may_see,
    readable,
)
from budget.alerts.operations import all_reached, announce_reached, announce_resolved, balances
from budget.alerts.rules import mark_id
from budget.budgets.rules import Budget, Window, fresh_window, percent
from budget.budgets.windows import Calendar
from budget.store import Unit
from farebox.errors import Invalid
from farebox.events import Measure, ThresholdMark
from farebox.events.budget import Mode
from farebox.http import JSON, body, caller
from farebox.ids import new_id
from farebox.matching import Narrowing as NarrowedTo
from farebox.money import parse_amount

MARKS_MAX = 20
COUNT_MAX = 10**15


def _text(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ValueError('must be a decimal string, such as "50000"')
    return value


AmountText = Annotated[str, BeforeValidator(_text), Field(max_length=64)]
Percent = Annotated[Decimal, Field(gt=0, le=1000, decimal_places=4)]


class WindowBody(Body):
    """How a budget divides time. Zone and week start default to the account's zone and Monday."""

    kind: Literal["day", "week", "month", "lifetime"]
    zone: Zone | None = None
    week_start: Annotated[int, Field(ge=1, le=7)] = 1


class ThresholdBody(Body):
    """A share of the limit in percent, or an absolute amount."""

    severity: Label
    percent: Percent | None = None
    amount: AmountText | None = None


class Narrowing(Body):
    """Only calls that match every given field count."""

    provider: Label | None = None
    model: Label | None = None
    feature: Label | None = None
    session: Label | None = None


class NewBudget(Body):
    """Body of POST /api/budgets."""

    account: AccountId
    name: Label
    measure: Measure = "money"
    window: WindowBody
    limit: AmountText
    mode: Mode = "hard"
    thresholds: Annotated[tuple[ThresholdBody, ...], Field(max_length=MARKS_MAX)] = ()
    narrowed_to: Narrowing = Narrowing()


class BudgetChange(Body):
    """Body of PATCH /api/budgets/{budget_id}; what is left out stays."""

    name: Label | None = None
    limit: AmountText | None = None
    mode: Mode | None = None
    active: bool | None = None
    thresholds: Annotated[tuple[ThresholdBody, ...], Field(max_length=MARKS_MAX)] | None = None


def budget_routes(administration: Administration) -> Sequence[BaseRoute]:
    async def create(request: Request) -> Response:
        administers(caller(request))
        new = await body(request, NewBudget)
        async with administration.store.transaction() as unit:
            path = await unit.registry.path(new.account)
            settings, account = in_force(path), path[-1]
            currency = settings.currency if new.measure == "money" else None
            if currency and (other := await unit.registry.foreign_account(account.account_id, currency)):
                raise Invalid(f"account: {other} below it bills in another currency than {currency}")
            budget = Budget(
                budget_id=new_id(),
                name=new.name,
                account=account.ref,
                path=account.path,
                measure=new.measure,
                currency=currency,
                calendar=Calendar(new.window.kind, new.window.zone or settings.zone, new.window.week_start),
                limit=_amount("limit", new.limit, currency),
                limit_revision=1,
                mode=new.mode,
                is_active=True,
                marks=_marks(new.thresholds, currency),
                narrowed_to=NarrowedTo(**new.narrowed_to.model_dump()),
                counts_from=administration.clock.now(),
            )
            await unit.registry.add_budget(budget)
            revision = await administration.announce_change(unit, account.account_id)
            budget = await _hardened(unit, budget, revision, budget.counts_from)
        administration.wake()
        return JSON(_shown(budget), status_code=201)

    async def change(request: Request) -> Response:
        administers(caller(request))
        wanted = await body(request, BudgetChange)
        now = administration.clock.now()
        async with administration.store.transaction() as unit:
            old = await unit.registry.budget_for_update(identified(request, "budget_id"))
            budget = _changed(old, wanted)
            await unit.registry.change_budget(budget)
            windows = await unit.books.lock(await unit.books.current(budget.budget_id, now))
            changed = {key: window.under(budget) for key, window in windows.items()}
            await unit.books.save(changed)
            for window in changed.values():
                await announce_resolved(unit, budget, window, now)
                await announce_reached(unit, all_reached(budget, window), changed, now)
            await unit.announce(balances(((budget, window) for window in changed.values()), now))
            revision = await administration.announce_change(unit, budget.account.id)
            if budget.holds != old.holds:
                budget = await _hardened(unit, budget, revision, now)
        administration.wake()
        return JSON(_shown(budget))

    async def show_all(request: Request) -> Response:
        async with administration.store.transaction() as unit:
            path = await _visible_path(unit, request)
            found = await unit.registry.budgets_around(path)
        return JSON({"items": [_shown(budget) for budget in found], "next_cursor": None})

    async def balances_now(request: Request) -> Response:
        now = administration.clock.now()
        async with administration.store.transaction() as unit:
            path = await _visible_path(unit, request)
            by_account = await unit.registry.budgets_of(path)
            found = [budget for account in path for budget in by_account.get(account, ())]
            used = await unit.books.read({budget.window_key(now) for budget in found})
        items = [
            _balance(budget, used.get(budget.window_key(now)) or fresh_window(budget, budget.calendar.span(now)))
            for budget in found
        ]
        return JSON({"items": items, "next_cursor": None})

    return [
        Route("/api/budgets", create, methods=["POST"]),
        Route("/api/budgets", show_all, methods=["GET"]),
        Route("/api/budgets/{budget_id}", change, methods=["PATCH"]),
        Route("/api/balances", balances_now, methods=["GET"]),
    ]


async def _hardened(unit: Unit, budget: Budget, revision: int, now: datetime) -> Budget:
    """A budget that begins to hold is guaranteed once every gateway has confirmed it: at once, where none lives."""
    await unit.registry.harden(budget.budget_id, revision if budget.holds else None)
    confirmed = await unit.books.confirm_budgets(now) if budget.holds else []
    return replace(budget, hard_since=now if budget.budget_id in confirmed else None)


async def _visible_path(unit: Unit, request: Request) -> tuple[str, ...]:
    """The path of the account a reader asks about. Raises Forbidden, NotFound."""
    account_id = readable(caller(request), request.query_params.get("account"))
    path = (await unit.registry.path(account_id))[-1].path
    may_see(caller(request), path)
    return path


def _amount(field: str, text: str, currency: str | None) -> int:
    """Nano-units of the currency, or a plain count where there is none. Raises Invalid."""
    if currency is not None:
        try:
            amount = parse_amount(text, currency)
        except Invalid as error:
            raise Invalid([f"{field}: {problem}" for problem in error.problems]) from None
    elif not (text.isascii() and text.isdigit() and int(text) <= COUNT_MAX):
        raise Invalid(f"{field}: must be a whole number of at most {COUNT_MAX}")
    else:
        amount = int(text)
    if amount < 0:
        raise Invalid(f"{field}: must not be negative")
    return amount


def _marks(wanted: Sequence[ThresholdBody], currency: str | None) -> tuple[ThresholdMark, ...]:
    problems = [
        f"thresholds.{place}: give either percent or amount"
        for place, each in enumerate(wanted)
        if (each.percent is None) == (each.amount is None)
    ]
    if problems:
        raise Invalid(problems)
    marks = tuple(
        ThresholdMark(
            severity=each.severity,
            percent=each.percent,
            amount=None if each.amount is None else _amount("thresholds.amount", each.amount, currency),
        )
        for each in wanted
    )
    if len({mark_id(mark) for mark in marks}) < len(marks):
        raise Invalid("thresholds: two of them are at the same mark")
    return marks


def _changed(old: Budget, wanted: BudgetChange) -> Budget:
    limit = old.limit if wanted.limit is None else _amount("limit", wanted.limit, old.currency)
    return replace(
        old,
        name=wanted.name or old.name,
        limit=limit,
        limit_revision=old.limit_revision + (limit != old.limit),
        mode=wanted.mode or old.mode,
        is_active=old.is_active if wanted.active is None else wanted.active,
        marks=old.marks if wanted.thresholds is None else _marks(wanted.thresholds, old.currency),
    )


def _shown(budget: Budget) -> dict[str, object]:
    return {
        "budget_id": budget.budget_id,
        "name": budget.name,
        "account": budget.account.id,
        "measure": budget.measure,
        "currency": budget.currency,
        "window": {
            "kind": budget.calendar.kind,
            "zone": budget.calendar.zone,
            "week_start": budget.calendar.week_start,
        },
        "limit": amount_text(budget.limit, budget.currency),
        "limit_revision": budget.limit_revision,
        "mode": budget.mode,
        "active": budget.is_active,
        "thresholds": [
            {
                "severity": mark.severity,
                "percent": mark.percent,
                "amount": None if mark.amount is None else amount_text(mark.amount, budget.currency),
            }
            for mark in budget.marks
        ],
        "narrowed_to": budget.narrowed_to._asdict(),
        "counts_from": budget.counts_from,
        "hard_since": budget.hard_since,
    }


def _balance(budget: Budget, window: Window) -> dict[str, object]:
    room = window.room
    return {
        "budget_id": budget.budget_id,
        "name": budget.name,
        "account": budget.account,
        "measure": budget.measure,
        "currency": budget.currency,
        "mode": budget.mode,
        "active": budget.is_active,
        "window": {"kind": budget.calendar.kind, "start": room.key[1], "end": window.end},
        "resets_at": window.end,
        "limit": amount_text(room.limit, budget.currency),
        "spent": amount_text(room.spent, budget.currency),
        "held": amount_text(room.escrowed, budget.currency),
        "uncertain": amount_text(room.uncertain, budget.currency),
        "remaining": amount_text(room.free, budget.currency),
        "percent_spent": percent(room.spent, room.limit),
        "limit_revision": window.limit_revision,
        "revision": window.revision,
    }
