"""A price row: an override of the seed catalogue, as the price API takes it and `price.catalogue` carries it."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from farebox.decimals import AsText
from farebox.pricing.rates import BASE, PARENT, REQUEST, TOOL, Rates, Steps, ladder, modes_of, multiplied, scaled
from farebox.pricing.usage import BUCKETS, MAX_COUNT

MAX_USD_A_TOKEN: Final = Decimal("0.1")
"""A hundred times the dearest token ever listed: a dearer one is a slip of the unit."""

MAX_USD_A_CALL: Final = Decimal(1000)
"""The same for a request or a tool call."""

_DECIMAL: Final = r"^[0-9]{1,12}(\.[0-9]{1,18})?$"

Usd = Annotated[Decimal, Field(ge=0, max_digits=30, decimal_places=18), AsText(_DECIMAL)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
UnitRates: TypeAlias = dict[str, Usd]
"""USD for `per` units, by unit: a token bucket, `request`, or `tool:<name>`."""

Multiplier = Annotated[
    Decimal, Field(gt=0, le=100, max_digits=9, decimal_places=6), AsText(r"^[0-9]{1,3}(\.[0-9]{1,6})?$")
]
"""How many times the standard rates."""


class ContextTier(BaseModel):
    """Rates of the named units for a call with more than `above` input-side tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above: Annotated[int, Field(strict=True, gt=0, le=MAX_COUNT)]
    rates: UnitRates


class ServiceTier(BaseModel):
    """Rates of the named units for calls that the provider says it served at this tier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: UnitRates
    context_tiers: tuple[ContextTier, ...] = ()


class PriceRow(BaseModel):
    """What a model costs from `effective_from` until before `effective_to`, in USD for `per` units.

    A row is complete: where it applies, nothing of the seed does. A bucket it leaves out is priced as its parent
    (`PARENT`), a unit without any rate makes a call unpriced. `context_tiers` and `service_tiers` replace rates of
    units that the row names; what a service tier leaves out is priced as at the standard one.

    `speeds` and `geographies` multiply the token rates, those of caches and of long contexts too, and each other
    (fast 6 × us 1.1 = 6.6); requests and tool calls keep theirs. A speed has a price at the standard service tier only,
    a geography at all. A call served at a tier, speed or geography that the row does not name is unpriced.

    `org` None applies to all, an org's own row goes first. `id` becomes the charge's `price_version`. Of rows that
    overlap, the one that starts last applies, then the one with the greater id, in whatever order they arrive.

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
    service_tiers: dict[Name, ServiceTier] = Field(default_factory=dict)
    speeds: dict[Name, Multiplier] = Field(default_factory=dict)
    geographies: dict[Name, Multiplier] = Field(default_factory=dict)
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
    def _contexts_replace(cls, tiers: tuple[ContextTier, ...], info: ValidationInfo) -> tuple[ContextTier, ...]:
        _refuse(_ladder_problems(tiers, info.data.get("rates"), info.data.get("per")))
        return tiers

    @field_validator("service_tiers")
    @classmethod
    def _service_tiers_replace(cls, tiers: dict[str, ServiceTier], info: ValidationInfo) -> dict[str, ServiceTier]:
        rates, per = info.data.get("rates"), info.data.get("per")
        for name, tier in tiers.items():
            problems = (
                *_part_problems(tier.rates, rates, per),
                *_ladder_problems(tier.context_tiers, tier.rates, per),
            )
            _refuse(f"{name}: {problem}" for problem in problems)
        return tiers

    def compiled(self) -> Rates:
        """The row as integer rates."""
        standard = _steps(self.rates, self.context_tiers, self.per)
        tables = ladder(standard)
        tiers = {
            name: ladder({**standard, **_steps(tier.rates, tier.context_tiers, self.per)})
            for name, tier in self.service_tiers.items()
        }
        speeds = {name: multiplied(tables, by) for name, by in self.speeds.items()}
        return Rates(
            provider=self.provider,
            model=self.model,
            version=self.id,
            effective_from=self.effective_from,
            effective_to=self.effective_to,
            modes=modes_of(tables, tiers, speeds, self.geographies),
        )


def _steps(rates: UnitRates, tiers: Iterable[ContextTier], per: int) -> dict[str, Steps]:
    return {
        unit: (
            (BASE, scaled(rate, per)),
            *((tier.above, scaled(tier.rates[unit], per)) for tier in tiers if unit in tier.rates),
        )
        for unit, rate in rates.items()
    }


def _unit_problems(rates: UnitRates, per: int | None) -> Iterator[str]:
    for unit, rate in rates.items():
        is_token = unit in BUCKETS
        if not is_token and unit != REQUEST and not (unit.startswith(TOOL) and len(unit) > len(TOOL)):
            yield f"{unit!r} is no unit; units are {', '.join(BUCKETS)}, {REQUEST}, {TOOL}<name>"
        elif per is not None and rate > (MAX_USD_A_TOKEN if is_token else MAX_USD_A_CALL) * per:
            yield f"{rate} USD for {per} {unit} is absurd"


def _part_problems(rates: UnitRates, base: UnitRates | None, per: int | None) -> Iterator[str]:
    """Problems of rates that replace some of `base`; None where `base` or `per` was itself refused."""
    yield from _unit_problems(rates, per)
    if base is not None:
        yield from (f"{unit} is not among the rates it replaces" for unit in rates if unit not in base)


def _ladder_problems(tiers: Iterable[ContextTier], base: UnitRates | None, per: int | None) -> Iterator[str]:
    starts = []
    for tier in tiers:
        starts.append(tier.above)
        yield from (f"above {tier.above}: {text}" for text in _part_problems(tier.rates, base, per))
    if starts != sorted(set(starts)):
        yield "context tiers must ascend by `above`, each once"


def _refuse(problems: Iterable[str]) -> None:
    if listed := "; ".join(problems):
        raise ValueError(listed)
