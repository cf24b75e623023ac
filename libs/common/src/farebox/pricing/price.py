"""The one price function: estimate, routing, reserve and ledger all call it."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from farebox.money import divide_half_even
from farebox.pricing.rates import BASE, REQUEST, SCALE, TOOL, Mode, Rates, RateTable, exact_nano, unscaled
from farebox.pricing.usage import BUCKETS, Usage

MAX_COST_NANO_USD: Final = 10**14
"""100,000 USD: no single call costs that; converted to any currency it still fits a bigint."""

_NO_TABLE: Final = RateTable(BASE, None, (None,) * len(BUCKETS), 0, MappingProxyType({}))

_MILLION: Final = 1_000_000
_THOUSAND: Final = 1_000


class UnpricedReason(StrEnum):
    """Why a call has no price, in order of precedence. Such a call waits in suspense; it is never charged zero."""

    UNKNOWN_MODEL = "unknown_model"
    NO_PRICE_AT_TIME = "no_price_at_time"
    NO_RATE_FOR_UNIT = "no_rate_for_unit"
    COST_OUT_OF_RANGE = "cost_out_of_range"


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call cost. `price_version` names the rates that priced it."""

    cost_nano_usd: int
    price_version: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """No price could be found. `detail` names the model or the unit, for people."""

    reason: UnpricedReason
    detail: str


@dataclass(frozen=True, slots=True)
class Line:
    """One unit's share of a charge: `count` units at `rate_usd` USD for `per` of them.

    `amount_nano_usd` is exact; the sum of a charge's lines, rounded once, is its cost. Both are None where the
    unit has no rate, which is why the call is unpriced.
    """

    unit: str
    count: int
    rate_usd: Decimal | None
    per: int
    amount_nano_usd: Decimal | None


def price(rates: Rates, usage: Usage) -> Charge | Unpriced:
    """The cost of a call, rounded half-even to a nano-USD once.

    A unit that was used and has no rate makes the call Unpriced, with one exception: `requests`, which few
    providers charge, cost nothing where no price is listed for them. Rates that list no metered unit at all
    price nothing, not even an empty call. A service tier, speed or geography that is stated and not listed has no
    rate for anything.
    """
    counts = _counts(usage)
    table = rates.table(usage)
    if table is None:
        return _no_rate(rates, usage)
    amount = usage.requests * table.request
    for count, rate in zip(counts, table.tokens, strict=True):
        if count:
            if rate is None:
                return _no_rate(rates, usage)
            amount += count * rate
    for tool, count in usage.tool_calls.items():
        if count:
            if tool not in table.tools:
                return _no_rate(rates, usage)
            amount += count * table.tools[tool]
    if not amount and table.is_empty:
        return _no_rate(rates, usage)
    cost = divide_half_even(amount, SCALE)
    if cost > MAX_COST_NANO_USD:
        return Unpriced(UnpricedReason.COST_OUT_OF_RANGE, f"{cost} nano-USD for one call")
    return Charge(cost, rates.version)


def explain(rates: Rates, usage: Usage) -> tuple[Line, ...]:
    """Every unit that was used, at its rate, as `price` counted it: tokens a million, calls a thousand."""
    table = rates.table(usage) or _NO_TABLE
    tokens = [
        _line(bucket, count, rate, _MILLION)
        for bucket, count, rate in zip(BUCKETS, _counts(usage), table.tokens, strict=True)
        if count
    ]
    tools = [
        _line(f"{TOOL}{tool}", count, table.tools.get(tool), _THOUSAND)
        for tool, count in usage.tool_calls.items()
        if count
    ]
    requests = [_line(REQUEST, usage.requests, table.request, _THOUSAND)] if table.request else []
    return (*tokens, *tools, *requests)


def _counts(usage: Usage) -> tuple[int, ...]:
    """The token counts in the order of `BUCKETS`."""
    return (
        usage.input,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.audio_in,
        usage.image_in,
        usage.output,
        usage.reasoning,
        usage.audio_out,
        usage.image_out,
    )


def _line(unit: str, count: int, rate: int | None, per: int) -> Line:
    if rate is None:
        return Line(unit, count, None, per, None)
    return Line(unit, count, unscaled(rate, per), per, exact_nano(count * rate))


def _no_rate(rates: Rates, usage: Usage) -> Unpriced:
    missing = [line.unit for line in explain(rates, usage) if line.rate_usd is None]
    units = ", ".join(missing) or "any unit that is metered"
    mode = Mode(usage.service_tier, usage.speed, usage.geography)
    stated = [f"{name.replace('_', ' ')} {value}" for name, value in mode._asdict().items() if value is not None]
    how = f" at {', '.join(stated)}" if stated else ""
    return Unpriced(UnpricedReason.NO_RATE_FOR_UNIT, f"{rates.provider}/{rates.model} has no rate for {units}{how}")
