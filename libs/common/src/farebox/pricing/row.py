"""A price row: an override of the seed catalogue, as the price API takes it and `price.catalogue` carries it."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from farebox.pricing.rates import PARENT
from farebox.pricing.usage import BUCKETS, MAX_COUNT

MAX_USD_A_TOKEN: Final = Decimal("0.1")
"""A hundred times the dearest token ever listed: a dearer one is a slip of the unit."""

MAX_USD_A_CALL: Final = Decimal(1000)
"""The same for a request or a tool call."""

_TOOL: Final = "tool:"
_DECIMAL: Final = r"^[0-9]{1,12}(\.[0-9]{1,18})?$"


def _only_text(value: object) -> object:
    if isinstance(value, Decimal):
        value = format(value, "f")
    if not isinstance(value, str):
        raise ValueError("a price is a decimal string, never a float")  # noqa: TRY004 - pydantic reports ValueError
    return value


Usd = Annotated[
    Decimal,
    BeforeValidator(_only_text),
    Field(ge=0, max_digits=30, decimal_places=18),
    WithJsonSchema({"type": "string", "pattern": _DECIMAL}),
]
Name = Annotated[str, Field(min_length=1, max_length=256)]
UnitRates: TypeAlias = dict[str, Usd]
"""USD for `per` units, by unit: a token bucket, `request`, or `tool:<name>`."""


class ContextTier(BaseModel):
    """Rates that replace the row's own for a call with more than `above` input-side tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above: Annotated[int, Field(strict=True, gt=0, le=MAX_COUNT)]
    rates: UnitRates


class PriceRow(BaseModel):
    """What a model costs from `effective_from` until before `effective_to`, in USD for `per` units.

    A row is complete: where it applies, nothing of the seed does. A bucket it leaves out is priced as its parent
    (`PARENT`); a unit without any rate makes a call unpriced. `context_tiers` and `service_tiers` replace the named
    units' rates for long contexts and for a service tier. `org` None applies to all; an org's own row goes first.
    `id` becomes the charge's `price_version`; of rows that overlap, the one that starts last applies, then the one with
    the greater id, whatever order they arrive in.

    Raises pydantic's ValidationError, a ValueError, that lists every problem.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    provider: Name
    model: Name
    org: Name | None = None
    effective_from: AwareDatetime
    effective_to: AwareDatetime | None = None
    per: Literal[1_000, 1_000_000] = 1_000_000
    rates: Annotated[UnitRates, Field(min_length=1)]
    context_tiers: tuple[ContextTier, ...] = ()
    service_tiers: dict[Name, UnitRates] = Field(default_factory=dict)
    source: Name

    @field_validator("effective_to")
    @classmethod
    def _ends_after_it_starts(cls, end: AwareDatetime | None, info: ValidationInfo) -> AwareDatetime | None:
        start = info.data.get("effective_from")
        if end is not None and start is not None and end <= start:
            raise ValueError(f"must be later than effective_from ({start.isoformat()})")
        return end

    @field_validator("rates")
    @classmethod
    def _units_are_known(cls, rates: UnitRates, info: ValidationInfo) -> UnitRates:
        orphans = (
            f"{unit} needs a rate for {parent} beside it"
            for unit, parent in PARENT.items()
            if unit in rates and parent not in rates
        )
        _refuse([*_unit_problems(rates, info.data.get("per")), *orphans])
        return rates

    @field_validator("context_tiers")
    @classmethod
    def _tiers_ascend(cls, tiers: tuple[ContextTier, ...], info: ValidationInfo) -> tuple[ContextTier, ...]:
        problems = [
            f"above {tier.above}: {problem}" for tier in tiers for problem in _part_problems(tier.rates, info.data)
        ]
        starts = [tier.above for tier in tiers]
        if starts != sorted(set(starts)):
            problems.append("must be in ascending order of `above`, each once")
        _refuse(problems)
        return tiers

    @field_validator("service_tiers")
    @classmethod
    def _service_tiers_replace(cls, tiers: dict[str, UnitRates], info: ValidationInfo) -> dict[str, UnitRates]:
        _refuse(f"{name}: {problem}" for name, rates in tiers.items() for problem in _part_problems(rates, info.data))
        return tiers


def _unit_problems(rates: Mapping[str, Decimal], per: int | None) -> Iterator[str]:
    for unit, rate in rates.items():
        is_token = unit in BUCKETS
        if not is_token and unit != "request" and not (unit.startswith(_TOOL) and len(unit) > len(_TOOL)):
            yield f"{unit!r} is no unit; units are {', '.join(BUCKETS)}, request, tool:<name>"
        elif per is not None and rate > (MAX_USD_A_TOKEN if is_token else MAX_USD_A_CALL) * per:
            yield f"{rate} USD for {per} {unit} is absurd"


def _part_problems(rates: UnitRates, row: Mapping[str, object]) -> Iterator[str]:
    per, base = row.get("per"), row.get("rates")
    yield from _unit_problems(rates, per if isinstance(per, int) else None)
    if isinstance(base, dict):
        yield from (f"{unit} is not among the row's own rates" for unit in rates if unit not in base)


def _refuse(problems: Iterable[str]) -> None:
    if listed := "; ".join(problems):
        raise ValueError(listed)
