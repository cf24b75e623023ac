"""Compiled rates: what one model costs during one interval, in integers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from farebox.money import NANO, divide_half_even
from farebox.pricing.usage import BUCKETS, Bucket, Usage

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
        "image_in": "input",
        "reasoning": "output",
    }
)
"""The bucket whose rate stands in where a bucket has none of its own. Sound and drawn pictures cost many times what
text costs, so nothing stands in for theirs."""


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


Ladder: TypeAlias = tuple[RateTable, ...]
"""Tables with ascending `above`, the first at BASE."""


class Mode(NamedTuple):
    """How a provider served a call, as far as its price depends on it. None is the standard."""

    service_tier: str | None = None
    speed: str | None = None
    geography: str | None = None


STANDARD: Final = Mode()

STANDARD_TIERS: Final = frozenset({"default", "standard", "on_demand", "auto"})
"""What providers call the standard service tier; `auto` comes from those that repeat the question."""

STANDARD_SPEEDS: Final = frozenset({"standard"})
STANDARD_GEOGRAPHIES: Final = frozenset({"global", "not_available"})
"""Anthropic's words for a call that was served anywhere, and by a model that has no choice of place."""


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Rates of one (provider, model) from `effective_from` until before `effective_to` (None: unbounded).

    `modes` lists every way in which the model may be served that has a price, STANDARD first, each with a ladder of
    tables: its keys are the service tiers, speeds and geographies that a reserve has to allow for. The table is chosen
    by the call's whole input-side total and prices all of the call: the "cliff" of genai-prices' TieredPrices. A mode
    that is not listed has no price, and never the standard one.

    `version` names what priced a charge: the seed package and its version, or the id of a price row.
    `unmetered` lists the seed's prices for units that no bucket counts (hours of audio, pages, …): shown, because
    what they price is not in our charges.
    """

    provider: str
    model: str
    version: str
    effective_from: datetime | None
    effective_to: datetime | None
    modes: Mapping[Mode, Ladder]
    unmetered: tuple[str, ...] = ()

    @property
    def standard(self) -> Ladder:
        """The ladder of a call of which nothing else is stated."""
        return self.modes[STANDARD]

    def ladder(self, mode: Mode) -> Ladder | None:
        """The tables of a mode as a provider states it; None if it has no price."""
        found = self.modes.get(mode)
        return self.modes.get(canonical(mode)) if found is None else found

    def table(self, usage: Usage) -> RateTable | None:
        """The table that prices a call; None if the way in which it was served has no price."""
        tables = self.ladder(Mode(usage.service_tier, usage.speed, usage.geography))
        return None if tables is None else table_of(tables, usage.input_total)


def canonical(mode: Mode) -> Mode:
    """The mode in lower case, with None for every name of a standard."""
    return Mode(
        _unless_in(STANDARD_TIERS, mode.service_tier),
        _unless_in(STANDARD_SPEEDS, mode.speed),
        _unless_in(STANDARD_GEOGRAPHIES, mode.geography),
    )


def _unless_in(standard: frozenset[str], stated: str | None) -> str | None:
    name = stated.lower() if stated is not None else None
    return None if name in standard else name


def table_of(tables: Ladder, input_total: int) -> RateTable:
    """The table for so many input-side tokens."""
    for table in reversed(tables):
        if input_total > table.above:
            return table
    raise ValueError(f"negative input total {input_total}")


def modes_of(
    standard: Ladder,
    tiers: Mapping[str, Ladder],
    speeds: Mapping[str, Ladder],
    geographies: Mapping[str, Decimal],
) -> Mapping[Mode, Ladder]:
    """Every mode that has a price.

    A speed has a price at the standard tier only: no vendor sells a fast batch. A geography multiplies the token rates
    of every tier and speed, in a context of any length; requests and tool calls cost the same everywhere.
    """
    anywhere = {STANDARD: standard} | {Mode(name): tables for name, tables in tiers.items()}
    anywhere |= {Mode(speed=name): tables for name, tables in speeds.items()}
    local = {
        mode._replace(geography=name): multiplied(tables, by)
        for name, by in geographies.items()
        for mode, tables in anywhere.items()
    }
    return MappingProxyType(anywhere | local)


def multiplied(tables: Ladder, by: Decimal) -> Ladder:
    """The same tables with every token rate, and no other, multiplied; half-even where a rate has too many digits."""
    numerator, denominator = by.as_integer_ratio()
    return tuple(
        replace(
            table,
            tokens=tuple(
                None if rate is None else divide_half_even(rate * numerator, denominator) for rate in table.tokens
            ),
        )
        for table in tables
    )


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


def ladder(units: Mapping[str, Steps]) -> Ladder:
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
