"""Whether a call may go out, and what it has to hold: its worst case, before anything is sent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from farebox.money import BadAmount, convert
from farebox.pricing import Exposure, Rates, Unpriced, Usage, price, worst_case_usage
from gateway.admission.bounds import Bounds
from gateway.dialects.usage import estimated
from gateway.shares.amount import Amount

_SEARCH: Final = "web_search"
_SEARCH_CONTEXT: Final = "search_context_"
_EVEN_ROUNDS: Final = 4


class Reason(StrEnum):
    """Why a call is refused, in the order in which reasons are looked for."""

    MODEL_NOT_ALLOWED = "model_not_allowed"
    FIELD_NOT_BOUNDED = "field_not_bounded"
    PRICES_OUTDATED = "prices_outdated"
    MODEL_NOT_PRICED = "model_not_priced"
    MODEL_NOT_BOUNDED = "model_not_bounded"
    BUDGET_EXCEEDED = "budget_exceeded"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    QUOTA_EXCEEDED = "quota_exceeded"
    BUDGET_UNAVAILABLE = "budget_unavailable"


@dataclass(frozen=True, slots=True)
class Guess:
    """What a call is charged of which nothing but its text is known: the input, and no output."""

    usage: Usage
    usage_json: bytes
    amount: Amount


@dataclass(frozen=True, slots=True)
class Estimate:
    """The worst case within `bounds`. Exactly `cost_nano_usd` converted is `amount.money`."""

    bounds: Bounds
    usage: Usage
    cost_nano_usd: int
    amount: Amount
    guess: Guess


class Other(NamedTuple):
    """A further model that may answer, beside the dearest."""

    rates: Rates
    bounds: Bounds


def covering(found: Estimate, fx_rate: Decimal, others: Sequence[Other]) -> Estimate:
    """The same, holding no less than any of the others can cost or use within the same limit on the output."""
    for rates, limits in others:
        each = estimate(rates, fx_rate, limits._replace(output=min(limits.output, found.bounds.output)))
        if isinstance(each, Estimate):
            cost = max(found.cost_nano_usd, each.cost_nano_usd)
            found = replace(found, cost_nano_usd=cost, amount=found.amount.joined(each.amount))
    return found


@lru_cache(maxsize=8192)
def estimate(rates: Rates, fx_rate: Decimal, limits: Bounds) -> Estimate | Unpriced:
    """The worst case at these rates, billed at `fx_rate`."""
    exposure = _with_search(limits.exposure, rates) if limits.searches else limits.exposure
    out = limits.output * limits.choices + limits.beside
    usage = worst_case_usage(rates, limits.input, out, 1, exposure)
    charge = price(rates, usage)
    if isinstance(charge, Unpriced):
        return charge
    money = convert(charge.cost_nano_usd, fx_rate)
    amount = Amount(money, 1, limits.tokens)
    return Estimate(limits, usage, charge.cost_nano_usd, amount, _guess(rates, fx_rate, limits, usage, amount))


def unexposed(limits: Bounds) -> Bounds:
    """The same call as its text alone: what is estimated where nothing has to hold and the whole has no price."""
    return limits._replace(exposure=Exposure(limits.exposure.buckets, service_tiers=frozenset()), searches=False)


def _with_search(exposure: Exposure, rates: Rates) -> Exposure:
    """A search has a price of its own, or is in that of the request; how much it reads may have one beside it."""
    table = rates.standard[0]
    calls = list(exposure.tool_calls)
    if _SEARCH in table.tools or not table.request:
        calls.append((_SEARCH, 1))
    sizes = [tool for tool in table.tools if tool.startswith(_SEARCH_CONTEXT)]
    if sizes:
        calls.append((max(sizes, key=table.tools.__getitem__), 1))
    return exposure._replace(tool_calls=tuple(calls))


def _guess(rates: Rates, fx_rate: Decimal, limits: Bounds, worst: Usage, reserve: Amount) -> Guess:
    """Where the input alone has no price, the guess is the worst case."""
    usage = estimated(input_tokens=limits.likely, output_tokens=0, worst=worst)
    found = actual(rates, fx_rate, usage)
    if found is None:
        return Guess(worst, worst.model_dump_json().encode(), reserve)
    return Guess(usage, usage.model_dump_json().encode(), found[1])


def affordable(
    rates: Rates, fx_rate: Decimal, worst: Estimate, part: Amount, least_output: int, others: Sequence[Other] = ()
) -> Estimate:
    """The same call with an answer worth no more than `part`, but for `least_output`: what a call gets that states no
    limit, so that several can be under way near the end of a budget."""
    if worst.amount.within(part):
        return worst
    bare = estimate(rates, fx_rate, worst.bounds._replace(output=0))
    if isinstance(bare, Unpriced):
        return worst
    fewest = worst.bounds._replace(output=min(least_output, worst.bounds.output))
    least = estimate(rates, fx_rate, fewest)
    bare = covering(bare, fx_rate, others)
    return clamped(rates, fx_rate, worst.bounds, bare.amount.plus(part), least_output, others) or (
        worst if isinstance(least, Unpriced) else covering(least, fx_rate, others)
    )


def clamped(
    rates: Rates, fx_rate: Decimal, limits: Bounds, room: Amount, least_output: int, others: Sequence[Other] = ()
) -> Estimate | None:
    """The estimate with the greatest output that fits into `room`; None if not even `least_output` does."""

    def at(output: int) -> Estimate | None:
        found = estimate(rates, fx_rate, limits._replace(output=output))
        return covering(found, fx_rate, others) if isinstance(found, Estimate) else None

    low, high = at(min(least_output, limits.output)), at(limits.output)
    if low is None or not low.amount.within(room):
        return None
    if high is None or high.amount.within(room):
        return high or low
    rounds = 0
    while (span := high.bounds.output - low.bounds.output) > 1:
        step = _step(low, high, room) if rounds < _EVEN_ROUNDS else span // 2
        middle = at(low.bounds.output + min(max(step, 1), span - 1))
        if middle is None:
            return low
        if middle.amount.within(room):
            low = middle
        else:
            high = middle
        rounds += 1
    return low


def _step(low: Estimate, high: Estimate, room: Amount) -> int:
    """How much more output than `low` there is room for, if cost grows evenly up to `high`: it nearly always does."""
    span = high.bounds.output - low.bounds.output
    return min(
        span * (most - least) // (top - least)
        for least, most, top in zip(low.amount, room, high.amount, strict=True)
        if top > most
    )


def actual(rates: Rates | None, fx_rate: Decimal, usage: Usage) -> tuple[int, Amount] | None:
    """(cost in nano-USD, amount) of what was used; None if it has no price, and then the reserve is kept."""
    if rates is None:
        return None
    charge = price(rates, usage)
    if isinstance(charge, Unpriced):
        return None
    try:
        money = convert(charge.cost_nano_usd, fx_rate)
    except BadAmount:
        return None
    return charge.cost_nano_usd, Amount(money, usage.requests, usage.total)
