"""Whether a call may go out, and what it has to hold: its worst case, before anything is sent. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from farebox.money import BadAmount, convert
from farebox.pricing import ALL_BUCKETS, TEXT_BUCKETS, Bucket, Exposure, Rates, Unpriced, Usage, price, worst_case_usage
from gateway.dialects.call import Call
from gateway.dialects.usage import estimated, tokens_of
from gateway.shares.amount import Amount

PRIMING_TOKENS: Final = 16
"""What a provider adds to any prompt. The framing of messages is outweighed by that of their JSON, which is counted."""

_PLAIN_TIERS: Final = frozenset({"default", "standard", "standard_only"})
_UNCACHED_TEXT: Final[frozenset[Bucket]] = TEXT_BUCKETS - {"cache_write_5m", "cache_write_1h"}


class Reason(StrEnum):
    """Why a call is refused, in the order in which reasons are looked for."""

    MODEL_NOT_ALLOWED = "model_not_allowed"
    PRICES_OUTDATED = "prices_outdated"
    MODEL_NOT_PRICED = "model_not_priced"
    BUDGET_EXCEEDED = "budget_exceeded"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    QUOTA_EXCEEDED = "quota_exceeded"
    BUDGET_UNAVAILABLE = "budget_unavailable"


class Bounds(NamedTuple):
    """The most a call can use: tokens in, tokens out for each choice."""

    input: int
    output: int
    choices: int
    has_media: bool
    writes_cache: bool
    service_tier: str | None


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


def bounds(call: Call, *, max_tokens_default: int, media_tokens: int) -> Bounds:
    """What the call itself says.

    No tokeniser makes more tokens than there are bytes, and escaping in JSON only adds some, so the length of the body
    as it is sent bounds its text; other media are bounded by `media_tokens` each.
    """
    return Bounds(
        input=len(call.written) + PRIMING_TOKENS + call.media * media_tokens,
        output=call.output_limit or max_tokens_default,
        choices=call.choices,
        has_media=call.media > 0 or "audio" in call.body,
        writes_cache=call.writes_cache,
        service_tier=call.service_tier,
    )


def _exposure(limits: Bounds) -> Exposure:
    """A provider writes its cache only where asked; a tier above the standard one is served only where asked."""
    tier = limits.service_tier
    buckets = ALL_BUCKETS if limits.has_media else TEXT_BUCKETS if limits.writes_cache else _UNCACHED_TEXT
    if tier is None or tier in _PLAIN_TIERS:
        return Exposure(buckets=buckets, service_tiers=frozenset())
    return Exposure(buckets=buckets, service_tiers=None if tier == "auto" else frozenset((tier,)))


@lru_cache(maxsize=8192)
def estimate(rates: Rates, fx_rate: Decimal, limits: Bounds) -> Estimate | Unpriced:
    """The worst case at these rates, billed at `fx_rate`."""
    usage = worst_case_usage(rates, limits.input, limits.output, limits.choices, _exposure(limits))
    charge = price(rates, usage)
    if isinstance(charge, Unpriced):
        return charge
    money = convert(charge.cost_nano_usd, fx_rate)
    tokens = limits.input + limits.output * limits.choices
    amount = Amount(money, 1, tokens)
    return Estimate(limits, usage, charge.cost_nano_usd, amount, _guess(rates, fx_rate, limits, usage, amount))


def _guess(rates: Rates, fx_rate: Decimal, limits: Bounds, worst: Usage, reserve: Amount) -> Guess:
    """Where the input alone has no price, the guess is the worst case."""
    usage = estimated(input_tokens=tokens_of(limits.input), output_tokens=0, worst=worst)
    found = actual(rates, fx_rate, usage)
    if found is None:
        return Guess(worst, worst.model_dump_json().encode(), reserve)
    return Guess(usage, usage.model_dump_json().encode(), found[1])


def clamped(rates: Rates, fx_rate: Decimal, limits: Bounds, room: Amount, least_output: int) -> Estimate | None:
    """The estimate with the greatest output that fits into `room`; None if not even `least_output` does."""
    low, high = min(least_output, limits.output), limits.output
    best: Estimate | None = None
    while low <= high:
        middle = (low + high) // 2 if best else low
        found = estimate(rates, fx_rate, limits._replace(output=middle))
        if isinstance(found, Estimate) and found.amount.within(room):
            best, low = found, middle + 1
        elif best is None:
            return None
        else:
            high = middle - 1
    return best


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
