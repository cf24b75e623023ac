"""The seed catalogue: genai-prices' rows, compiled model by model when first asked for.

Matching of model references (aliases, dated names), the choice among dated and time-of-day prices and the overlay
of service tiers are genai-prices' own code, run once for each interval; what remains for a call is one table.
"""

import importlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Final

from genai_prices.data_snapshot import find_provider_by_id
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from farebox.pricing.names import is_fine_tuned, undated
from farebox.pricing.overlay import meanings, overlay
from farebox.pricing.rates import BASE, TOOL, Ladder, Mode, Rates, Steps, ladder, modes_of, multiplied, scaled

SEED_VERSION: Final = f"genai-prices/{version('genai-prices')}"

_RESOLVED_REFERENCES: Final = 4096
"""Resolved references kept, misses included: callers may ask for any name, and a miss scans a provider's models."""

_PRICE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("input_mtok",),
    "cache_read": ("cache_read_mtok",),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok"),
    "audio_in": ("input_audio_mtok",),
    "image_in": ("input_image_mtok",),
    "output": ("output_mtok",),
    "reasoning": ("output_reasoning_mtok",),
    "audio_out": ("output_audio_mtok",),
    "image_out": ("output_image_mtok",),
    "request": ("requests_kcount",),
    "tool:web_search": ("web_searches_kcount",),
    "tool:social_search": ("social_searches_kcount",),
    "tool:storage_search": ("storage_searches_kcount",),
    "tool:code_execution": ("code_executions_kcount",),
}
"""Our units and genai-prices' keys for them, the most specific first."""

_METERED: Final = frozenset(key for keys in _PRICE_KEYS.values() for key in keys)
_PER: Final[Mapping[str, int]] = {unit["price_key"]: unit["per"] for unit in unit_data.values()}
_TIER_CONTEXTS: Final = ("service_tier", "processing")
_SPEED_CONTEXTS: Final = ("speed",)
"""Keys of PriceVariant.when that say how a call was served; other keys depend on what was asked and stay unused."""

_ONE_PRICE_FOR_SOUND: Final = frozenset({"google"})
"""Who lists no rate for sound where it costs what text costs. Elsewhere it is unknown, and up to 60 times as high."""

_FREE_SUFFIX: Final = ":free"
"""Who lists a model under this name gives it away; any other model without prices is one whose price is unknown."""

_THOUSAND: Final = 1_000
_ANY_DAY: Final = date(2000, 1, 1)


class SeedModel:
    """One model of the seed. Its rates change at dates and at times of day; each interval is compiled once."""

    def __init__(self, provider: Provider, model: ModelInfo) -> None:
        self.provider = provider.id
        self.id = model.id
        self.context_window = model.context_window
        self._model = model
        # genai-prices: variants of a model found at a fallback provider do not apply.
        self._has_variants = any(model is own for own in provider.models)
        self._dates = tuple(sorted(set(_dates(model))))
        self._hours = tuple(sorted(set(_hours(model))))
        self._supplements = [each for each in overlay().supplements if each.applies_to(provider.id, model.id)]
        self._compiled: dict[tuple[int, int], Rates] = {}

    def rates_at(self, at: datetime) -> Rates:
        """The rates in force at an aware instant."""
        if not self._dates and not self._hours:
            key = (0, 0)
        else:
            utc = at.astimezone(UTC)
            key = (bisect_right(self._dates, utc), bisect_right(self._hours, utc.time()))
        rates = self._compiled.get(key)
        if rates is None:
            rates = self._compiled[key] = self._compile(at, key[0])
        return rates

    def turns(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Where the rates in [start, end) change. Of times of day those after each date, for they return every day."""
        yield from self._dates
        for since in (start, end - timedelta(days=1), *self._dates):
            for hour in self._hours:
                at = datetime.combine(since.astimezone(UTC), hour, UTC)
                yield at if at >= since else at + timedelta(days=1)

    def _compile(self, at: datetime, dated: int) -> Rates:
        prices = self._model.get_prices(at)
        return Rates(
            provider=self.provider,
            model=self.id,
            version=SEED_VERSION,
            effective_from=self._dates[dated - 1] if dated else None,
            effective_to=self._dates[dated] if dated < len(self._dates) else None,
            modes=self._modes(prices, at),
            unmetered=tuple(sorted(_own_prices(prices).keys() - _METERED)),
        )

    def _modes(self, prices: ModelPrice, at: datetime) -> Mapping[Mode, Ladder]:
        standard = self._ladder(prices)
        speeds = {name: multiplied(standard, by) for each in self._supplements for name, by in each.speeds.items()}
        return modes_of(
            standard,
            self._variants(at, _TIER_CONTEXTS),
            self._variants(at, _SPEED_CONTEXTS) | speeds,
            {name: by for each in self._supplements for name, by in each.geographies.items()},
        )

    def _variants(self, at: datetime, contexts: tuple[str, ...]) -> dict[str, Ladder]:
        """The ladders of what is listed under these contexts at an instant, by name."""
        names = {
            name
            for variant in (self._model.price_variants or () if self._has_variants else ())
            if variant.constraint is None or variant.constraint.active(at)
            for context, name in variant.when.items()
            if context in contexts and vars(variant.prices)
        }
        return {name: self._ladder(self._model.get_prices(at, dict.fromkeys(contexts, name))) for name in sorted(names)}

    def _ladder(self, prices: ModelPrice) -> Ladder:
        own = _own_prices(prices)
        if not own and self.id.endswith(_FREE_SUFFIX):
            return ladder({"input": ((BASE, 0),), "output": ((BASE, 0),)})
        keys = {unit: next((key for key in candidates if key in own), None) for unit, candidates in _PRICE_KEYS.items()}
        if self.provider in _ONE_PRICE_FOR_SOUND:
            keys["audio_in"] = keys["audio_in"] or keys["input"]
        added = {
            f"{TOOL}{tool}": ((BASE, scaled(usd, _THOUSAND)),)
            for each in self._supplements
            for tool, usd in each.tools.items()
        }
        return ladder(added | {unit: _steps(own[key], _PER[key]) for unit, key in keys.items() if key is not None})


_MODELS: Final[dict[tuple[str, int], SeedModel]] = {}
"""One compiled model, whatever it is called: bounded by the size of the catalogue."""


def model_ids(provider: str) -> tuple[str, ...]:
    """Ids by which a provider's own models can be asked for; empty if the provider is unknown.

    A few of the seed's ids (Bedrock's `regional.…`, Fireworks' short ones) name a model that answers only to others.
    """
    found = find_provider_by_id(load(), provider)
    return () if found is None else tuple(model.id for model in found.models if model.is_match(model.id))


@lru_cache(maxsize=_RESOLVED_REFERENCES)
def find_model(provider: str, model: str) -> SeedModel | None:
    """The model that a reference means at a provider, as genai-prices matches both, if need be without its date.

    None if it knows either not, or only the base of one that is fine-tuned.
    """
    providers = load()
    found = find_provider_by_id(providers, provider)
    if found is None:
        return None
    model = meanings().get((found.id, model), model)
    info = found.find_model(model, all_providers=providers) or found.find_model(undated(model), all_providers=providers)
    if info is None or (is_fine_tuned(model) and not is_fine_tuned(info.id)):
        return None
    return _MODELS.setdefault((found.id, id(info)), SeedModel(found, info))


def load() -> list[Provider]:
    """The bundled catalogue, read once: 10 MiB and, without bytecode, 0.7 s, which no request should wait for."""
    providers: list[Provider] = importlib.import_module("genai_prices.data").providers
    return providers


def _own_prices(prices: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _steps(value: Decimal | TieredPrices, per: int) -> Steps:
    """genai-prices applies the last tier whose start the input total exceeds."""
    if isinstance(value, Decimal):
        return ((BASE, scaled(value, per)),)
    tiers = ((tier.start, scaled(tier.price, per)) for tier in value.tiers)
    return ((BASE, scaled(value.base, per)), *tiers)


def _dates(model: ModelInfo) -> Iterator[datetime]:
    """UTC midnights at which a price begins."""
    for constraint in _constraints(model):
        if isinstance(constraint, StartDateConstraint):
            yield datetime.combine(constraint.start_date, time(), UTC)


def _hours(model: ModelInfo) -> Iterator[time]:
    """Times of day, UTC, at which a price begins or ends."""
    for constraint in _constraints(model):
        if isinstance(constraint, TimeOfDateConstraint):
            for edge in (constraint.start_time, constraint.end_time):
                yield datetime.combine(_ANY_DAY, edge, edge.tzinfo or UTC).astimezone(UTC).time()


def _constraints(model: ModelInfo) -> Iterator[StartDateConstraint | TimeOfDateConstraint | None]:
    if isinstance(model.prices, list):
        yield from (conditional.constraint for conditional in model.prices)
    yield from (variant.constraint for variant in model.price_variants or ())
