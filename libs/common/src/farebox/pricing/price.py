"""The one price function: estimate, routing, reserve and ledger all call it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from farebox.money import divide_half_even, round_half_even
from farebox.pricing.rates import BASE, REQUEST, SCALE, TOOL, Mode, Rates, RateTable, exact_nano, unscaled
from farebox.pricing.usage import BUCKETS, MAX_COST_NANO_USD, Usage

STATED_COST: Final = "stated_cost"
"""The one line of a call whose bill the provider states."""

APART_FROM_TEXT: Final = frozenset({"audio_in", "audio_out", "image_in", "image_out"})
"""Buckets that may wait for a rate while the rest of a call is charged."""

_EXACT: Final = Context(prec=80)
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})

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
    rate for anything. A bill that the provider states is the cost.
    """
    if usage.stated_cost_nano_usd is not None:
        return Charge(usage.stated_cost_nano_usd, rates.version)
    table = rates.table(usage)
    amount = None if table is None else _amount(table, usage)
    if amount is None:
        return _no_rate(rates, usage)
    cost = divide_half_even(amount, SCALE)
    if cost > MAX_COST_NANO_USD:
        return Unpriced(UnpricedReason.COST_OUT_OF_RANGE, f"{cost} nano-USD for one call")
    return Charge(cost, rates.version)


def _amount(table: RateTable, usage: Usage) -> int | None:
    """In 1/SCALE nano-USD; None where something that was used has no rate."""
    amount = usage.requests * table.request
    for count, rate in zip(_counts(usage), table.tokens, strict=True):
        if count:
            if rate is None:
                return None
            amount += count * rate
    for tool, count in usage.apart.items():
        if count:
            if tool not in table.tools:
                return None
            amount += count * table.tools[tool]
    return None if not amount and table.is_empty else amount


def explain(rates: Rates, usage: Usage) -> tuple[Line, ...]:
    """Every unit that was used, at its rate, as `price` counted it: tokens a million, calls a thousand.

    A bill that the provider states is one line.
    """
    if usage.stated_cost_nano_usd is not None:
        cost = Decimal(usage.stated_cost_nano_usd)
        return (Line(STATED_COST, 1, cost.scaleb(-9, _EXACT), 1, cost),)
    table = rates.table(usage) or _NO_TABLE
    tokens = [
        _line(bucket, count, rate, _MILLION)
        for bucket, count, rate in zip(BUCKETS, _counts(usage), table.tokens, strict=True)
        if count
    ]
    tools = [
        _line(f"{TOOL}{tool}", count, table.tools.get(tool), _THOUSAND) for tool, count in usage.apart.items() if count
    ]
    requests = [_line(REQUEST, usage.requests, table.request, _THOUSAND)] if table.request else []
    return (*tokens, *tools, *requests)


def price_known(rates: Rates, usage: Usage) -> tuple[Charge, Mapping[str, int]] | Unpriced:
    """What can be priced of a call, and the counts of the units that cannot, by name.

    Sounds, pictures, tool calls and unknown counters may be left out: they are listed and wait for their rate beside
    the charge. A call whose text has no rate, or of which nothing has one, is Unpriced.
    """
    priced = price(rates, usage)
    if isinstance(priced, Charge):
        return priced, _NOTHING
    if priced.reason is not UnpricedReason.NO_RATE_FOR_UNIT:
        return priced
    lines = explain(rates, usage)
    left = {line.unit: line.count for line in lines if line.amount_nano_usd is None}
    if not left or len(left) == len(lines) or not all(map(_may_wait, left)):
        return priced
    cost = _rounded(line.amount_nano_usd for line in lines if line.amount_nano_usd is not None)
    if cost > MAX_COST_NANO_USD:
        return Unpriced(UnpricedReason.COST_OUT_OF_RANGE, f"{cost} nano-USD for one call")
    return Charge(cost, rates.version), left


def price_unit(rates: Rates, usage: Usage, unit: str) -> int | None:
    """Nano-USD of one unit of a call, rounded by itself; None if it has no rate, or comes to an absurd cost."""
    amounts = [line.amount_nano_usd for line in explain(rates, usage) if line.unit == unit]
    if not amounts or amounts[0] is None:
        return None
    cost = _rounded([amounts[0]])
    return cost if cost <= MAX_COST_NANO_USD else None


def _may_wait(unit: str) -> bool:
    return unit in APART_FROM_TEXT or unit.startswith(TOOL)


def _rounded(amounts: Iterable[Decimal]) -> int:
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return round_half_even(total)


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
