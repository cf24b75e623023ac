"""Compiled rates: what one model costs during one interval, in integers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypeAlias

from farebox.money import NANO, divide_half_even
from farebox.pricing.usage import BUCKETS, Bucket

_DIGITS: Final = 15

SCALE: Final = 10**_DIGITS
"""Rates are integers of 1/SCALE nano-USD a unit: exact for prices of up to 18 decimals in USD a million."""

REQUEST: Final = "request"
TOOL: Final = "tool:"
"""Names of units that are no token bucket: `request`, `tool:web_search`."""

BASE: Final = -1
"""`above` of the first table: it holds from no input at all."""

Steps: TypeAlias = tuple[tuple[int, int], ...]
"""One unit's rates as (`above`, rate) with ascending `above`, the first at BASE."""

PARENT: Final[Mapping[Bucket, Bucket]] = MappingProxyType(
    {
        "cache_read": "input",
        "cache_write_5m": "input",
        "cache_write_1h": "input",
        "audio_in": "input",
        "image_in": "input",
        "reasoning": "output",
        "audio_out": "output",
        "image_out": "output",
    }
)
"""The bucket whose rate stands in where a bucket has none of its own; genai-prices' unit hierarchy."""


@dataclass(frozen=True, slots=True, eq=False)
class RateTable:
    """Rates for calls with more than `above` and at most `upto` input-side tokens.

    `tokens` has one column a bucket in the order of `BUCKETS`; None where neither the bucket nor its parent has
    a rate. `request` is 0 where nothing is charged a request. All in 1/SCALE nano-USD a unit.
    """

    above: int
    upto: int | None
    tokens: tuple[int | None, ...]
    request: int
    tools: Mapping[str, int]

    @property
    def is_empty(self) -> bool:
        """Nothing in this table can price a call."""
        return not self.request and not self.tools and all(rate is None for rate in self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Rates of one (provider, model) from `effective_from` until before `effective_to` (None: unbounded).

    `standard` and each of `variants` (by service tier) is a ladder of tables with ascending `above`, the first of
    which starts at BASE. The table is chosen by the call's whole input-side total and prices all of the call: the
    "cliff" of genai-prices' TieredPrices. A service tier without a variant is priced at `standard`, as there.

    `version` names what priced a charge: the seed package and its version, or the id of a price row.
    `unmetered` lists the seed's prices for units that no bucket counts (hours of audio, pages, …): shown, because
    what they price is not in our charges.
    """

    provider: str
    model: str
    version: str
    effective_from: datetime | None
    effective_to: datetime | None
    standard: tuple[RateTable, ...]
    variants: Mapping[str, tuple[RateTable, ...]]
    unmetered: tuple[str, ...] = ()

    def table(self, service_tier: str | None, input_total: int) -> RateTable:
        """The table that prices a call."""
        ladder = self.standard
        if service_tier is not None:
            ladder = self.variants.get(service_tier, ladder)
        for table in reversed(ladder):
            if input_total > table.above:
                return table
        raise ValueError(f"negative input total {input_total}")


def scaled(usd: Decimal, per: int) -> int:
    """USD for `per` units as 1/SCALE nano-USD a unit."""
    numerator, denominator = usd.as_integer_ratio()
    return divide_half_even(numerator * NANO * SCALE, denominator * per)


def unscaled(rate: int, per: int) -> Decimal:
    """USD for `per` units, exactly: the inverse of `scaled`."""
    return _plain(rate * per, _DIGITS + 9)


def exact_nano(amount: int) -> Decimal:
    """A count times a rate as nano-USD, before rounding."""
    return _plain(amount, _DIGITS)


def _plain(value: int, digits: int) -> Decimal:
    """`value` / 10^digits without trailing zeros and without an exponent."""
    whole, rest = divmod(value, 10**digits)
    return Decimal(f"{whole}.{rest:0{digits}}".rstrip("0").rstrip("."))


def ladder(units: Mapping[str, Steps]) -> tuple[RateTable, ...]:
    """Tables from the steps of each unit: a token bucket, `request` or `tool:<name>`.

    A unit without steps of its own for a long context keeps its lower step there.
    """
    starts = sorted({above for steps in units.values() for above, _ in steps}) or [BASE]
    return tuple(
        _table({unit: _step(steps, above) for unit, steps in units.items()}, above, upto)
        for above, upto in zip(starts, [*starts[1:], None], strict=True)
    )


def _step(steps: Steps, above: int) -> int:
    return next(rate for start, rate in reversed(steps) if start <= above)


def _table(own: Mapping[str, int], above: int, upto: int | None) -> RateTable:
    tokens = tuple(own.get(bucket, own.get(PARENT.get(bucket, bucket))) for bucket in BUCKETS)
    tools = {unit.removeprefix(TOOL): rate for unit, rate in own.items() if unit.startswith(TOOL)}
    return RateTable(above, upto, tokens, own.get(REQUEST, 0), MappingProxyType(tools))
