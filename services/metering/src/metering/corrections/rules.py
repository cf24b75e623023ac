"""What a correction writes: what the books say of an attempt and what is true of it in, the difference out. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from pydantic import JsonValue, ValidationError

from farebox.errors import Invalid, sentences
from farebox.events import BillingTerms, Measured, RequestCompleted, UsagePriced, value_of
from farebox.money import (
    BadAmount,
    UnknownCurrency,
    convert,
    decimal_text,
    divide_half_even,
    parse_amount,
    require_currency,
)
from farebox.pricing import Usage
from farebox.pricing.usage import MAX_COST_NANO_USD
from metering.attempt import Attempt
from metering.charge import PriceBook, Suspended, charge
from metering.tariff import STATED, Tariff

USD: Final = "USD"
"""What providers bill in: an amount may be stated in it, whatever currency the account is billed in."""


SERVED: Final = ("requests", "service_tier", "speed", "geography")
"""How a call was served, whatever was counted: it stays as it was where a true usage leaves it out."""


class TrueUsage(NamedTuple):
    """What the provider says was used. Counts that are left out are 0."""

    fields: Mapping[str, JsonValue]


class TrueAmount(NamedTuple):
    """What the call really cost, in the account's currency or in US dollars."""

    amount: str
    currency: str


Truth: TypeAlias = TrueUsage | TrueAmount


class Booked(NamedTuple):
    """What the books say of an attempt: its charge and the corrections of it, added up.

    `attempt` has the usage as it is known by now; `last_entry_id` is the entry that nothing corrects yet.
    """

    attempt: Attempt
    last_entry_id: UUID
    cost_nano_usd: int
    billed_nano: int


class Correction(NamedTuple):
    """An entry on its way into the ledger, its amounts and counts differences. `attempt` has the usage that is true."""

    corrects: UUID
    attempt: Attempt
    cost_nano_usd: int
    billed_nano: int
    input_tokens: int
    output_tokens: int
    requests: int
    tariff: Tariff


def opened(attempt: Attempt) -> Booked:
    """An attempt that waits for its price, as a charge of nothing, which its correction names, makes it stand."""
    return Booked(attempt, attempt.event.attempt_id, 0, 0)


def correct(booked: Booked, truth: Truth, book: PriceBook) -> Correction:
    """The entry that makes the books say what is true. Raises Invalid, naming the field, where nothing true is said."""
    event = booked.attempt.event
    _require_currency("attempt_id: is billed in an unknown", event.billing.currency)
    if isinstance(truth, TrueUsage):
        usage = true_usage(event.usage, truth)
        cost, billed, tariff = _priced(booked.attempt, usage, book)
    else:
        usage = event.usage
        cost, billed = _amounts(event, truth)
        tariff = STATED
    return Correction(
        booked.last_entry_id,
        _with_usage(booked.attempt, usage),
        cost - booked.cost_nano_usd,
        billed - booked.billed_nano,
        usage.input_total - event.usage.input_total,
        usage.output_total - event.usage.output_total,
        usage.requests - event.usage.requests,
        tariff,
    )


def true_usage(before: Usage, truth: TrueUsage) -> Usage:
    """The usage that is stated, counted by the provider. Raises Invalid."""
    served: dict[str, JsonValue] = before.model_dump(mode="json", include=set(SERVED))
    if "\\u0000" in json.dumps(truth.fields):
        raise Invalid("usage: PostgreSQL has no text for NUL")
    try:
        return Usage.model_validate({**served, **truth.fields})
    except ValidationError as error:
        raise Invalid([f"usage.{problem}" for problem in sentences(error)]) from None


def _priced(attempt: Attempt, usage: Usage, book: PriceBook) -> tuple[int, int, Tariff]:
    """As a call of that instant is priced by now."""
    event = attempt.event.model_copy(update={"usage": usage})
    charged = charge(book, attempt._replace(event=event))
    if isinstance(charged, Suspended):
        raise Invalid(f"usage: has no price ({charged.detail}); add one, or state the amount")
    if charged.left:
        raise Invalid(f"usage: has no price for {', '.join(charged.left)}; add one, or state the amount")
    return charged.cost_nano_usd, charged.billed_nano, charged.tariff


def _amounts(event: RequestCompleted, truth: TrueAmount) -> tuple[int, int]:
    """Cost in nano-USD and what is billed for it, of which one is stated and the other follows by the call's rate."""
    cost, billed = _both(event.billing, truth, stated_nano(truth))
    if cost > MAX_COST_NANO_USD:
        raise Invalid(f"amount: is more than {decimal_text(MAX_COST_NANO_USD)} USD, which no call costs")
    return cost, billed


def _both(billing: BillingTerms, truth: TrueAmount, nano: int) -> tuple[int, int]:
    if truth.currency == billing.currency:
        numerator, denominator = billing.fx_rate.as_integer_ratio()
        return divide_half_even(nano * denominator, numerator), nano
    if truth.currency == USD:
        return nano, _converted(nano, billing.fx_rate)
    known = " or ".join(sorted({billing.currency, USD}))
    raise Invalid(f"currency: the attempt is billed in {billing.currency}; state its amount in {known}")


def stated_nano(truth: TrueAmount) -> int:
    """Nano-units of the currency that is stated. Raises Invalid."""
    _require_currency("currency: is an unknown", truth.currency)
    try:
        nano = parse_amount(truth.amount, truth.currency)
    except BadAmount as error:
        raise Invalid(f"amount: {error}") from None
    if nano < 0:
        raise Invalid("amount: must not be negative: state what the call cost in all, not the difference")
    return nano


def _converted(nano: int, fx_rate: Decimal) -> int:
    try:
        return convert(nano, fx_rate)
    except BadAmount as error:
        raise Invalid(f"amount: {error}") from None


def _require_currency(what: str, currency: str) -> None:
    try:
        require_currency(currency)
    except UnknownCurrency as error:
        raise Invalid(f"{what} {error}") from None


def _with_usage(attempt: Attempt, usage: Usage) -> Attempt:
    """The attempt as it is known now; what else was received stays as it was."""
    if usage == attempt.event.usage:
        return attempt
    told = RequestCompleted.model_validate_json(attempt.received).model_copy(update={"usage": usage})
    return Attempt(attempt.event.model_copy(update={"usage": usage}), value_of(told).decode())


def canonical(truth: Truth) -> str:
    """What was stated, so that the same statement is the same text."""
    if isinstance(truth, TrueUsage):
        return json.dumps({"usage": truth.fields}, sort_keys=True)
    return json.dumps({"amount": decimal_text(stated_nano(truth)), "currency": truth.currency})


def event_of(correction: Correction, entry_id: UUID, at: datetime) -> UsagePriced:
    """What is told of it: differences, and the windows that held the call with nothing that was settled there."""
    event = correction.attempt.event
    held = event.held and event.held.model_copy(update={"settled": Measured(), "uncertain": Measured()})
    return UsagePriced(
        entry_id=entry_id,
        attempt_id=event.attempt_id,
        request_id=event.request_id,
        kind="correction",
        corrects=correction.corrects,
        occurred_at=event.started_at,
        priced_at=at,
        principal=event.principal,
        session=event.session,
        feature=event.feature,
        provider=event.provider,
        model=event.served_model,
        cost_nano_usd=correction.cost_nano_usd,
        billed_nano=correction.billed_nano,
        currency=event.billing.currency,
        price_version=correction.tariff.price_version,
        requests=correction.requests,
        tokens=correction.input_tokens + correction.output_tokens,
        usage_source=event.usage.source.value,
        lease=event.lease,
        held=held,
    )


def shown(booked: Booked, correction: Correction, events: Sequence[UsagePriced]) -> dict[str, Any]:
    """What the attempt stood at, what it stands at then, and what is written and told for it."""
    before, after = booked.attempt.event.usage, correction.attempt.event.usage
    billed, cost = booked.billed_nano, booked.cost_nano_usd
    return {
        "currency": booked.attempt.event.billing.currency,
        "before": _standing(billed, cost, before),
        "after": _standing(billed + correction.billed_nano, cost + correction.cost_nano_usd, after),
        "entries": [_entry(event) for event in events],
        "events": [event.model_dump(mode="json") for event in events],
    }


def _standing(billed_nano: int, cost_nano_usd: int, usage: Usage) -> dict[str, object]:
    return {
        "billed": decimal_text(billed_nano),
        "cost_usd": decimal_text(cost_nano_usd),
        "tokens": usage.total,
        "requests": usage.requests,
    }


def _entry(event: UsagePriced) -> dict[str, object]:
    return {
        "entry_id": event.entry_id,
        "kind": event.kind,
        "corrects": event.corrects,
        "amount": decimal_text(event.billed_nano or 0),
        "currency": event.currency,
        "cost_usd": decimal_text(event.cost_nano_usd or 0),
        "tokens": event.tokens,
        "requests": event.requests,
        "price_version": event.price_version,
    }
