"""Which rates apply to a call."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from farebox.pricing import overlay, seed
from farebox.pricing.layer import Found, Layer, applying
from farebox.pricing.names import is_pattern, undated
from farebox.pricing.price import Charge, Unpriced, UnpricedReason, price
from farebox.pricing.rates import Rates
from farebox.pricing.row import PriceRow
from farebox.pricing.usage import Usage

_REFERENCES_KEPT: Final = 4096
_MAX_NAME: Final = 256
"""Characters of the longest model name looked up: callers choose it, and answers are kept."""


class Catalogue:
    """The seed with our own overlay on it, and operators' price rows above both.

    Rows arrive at run time, in any order and more than once; what applies does not depend on that order (`Layer` says
    which of several does). A model is known by the name it is asked for, by the seed's id of it, and by its name
    without date or `-latest`: a row for any of them applies, the first of these first, and patterns after all. A name
    that says fine-tuned finds what is listed as such and never its base. `aliases` names, for a provider the seed does
    not know (an OpenAI-compatible upstream), the seed provider whose list prices stand in.
    """

    def __init__(self, rows: Iterable[PriceRow] = (), *, aliases: Mapping[str, str] | None = None) -> None:
        seed.load()
        self._aliases = {name.lower(): provider.lower() for name, provider in (aliases or {}).items()}
        self._layer = Layer(rows)

    def add(self, row: PriceRow) -> None:
        """Lay a row on top. The same id again replaces the row of that model."""
        self._layer.add(row)

    def replace(self, provider: str, model: str, rows: Iterable[PriceRow]) -> None:
        """Take these as all rows of one model, as a record of `price.catalogue` lists them; none for a tombstone."""
        self._layer.replace(provider.lower(), model.lower(), rows)

    def rates_for(self, provider: str, model: str, at: datetime, org: str | None = None) -> Rates | None:
        """The rates in force at an instant; None if the model is unknown or has no price then.

        `provider` and `model` are matched as genai-prices matches them. Raises ValueError for a naive `at`.
        """
        if at.tzinfo is None:
            raise ValueError("a price needs an instant with a time zone")
        provider, model = provider.lower(), model.lower()
        known = self._known(provider, model)
        rates = applying(self._layer.found(provider, known.names), at, org) or applying(known.corrected, at, None)
        return rates or (None if known.seeded is None else known.seeded.rates_at(at))

    def price(self, provider: str, model: str, usage: Usage, at: datetime, org: str | None = None) -> Charge | Unpriced:
        """The cost of a call at the rates in force at the instant its attempt started."""
        rates = self.rates_for(provider, model, at, org)
        if rates is not None:
            return price(rates, usage)
        if self.rows_for(provider, model):
            return Unpriced(UnpricedReason.NO_PRICE_AT_TIME, f"{provider}/{model} has no price at {at.isoformat()}")
        return Unpriced(UnpricedReason.UNKNOWN_MODEL, f"{provider}/{model} is not in the catalogue")

    def rows(self, provider: str) -> tuple[PriceRow, ...]:
        """Every operator's row of a provider."""
        return self._layer.rows(provider.lower())

    def rows_for(self, provider: str, model: str) -> tuple[PriceRow, ...]:
        """Operators' rows that may apply to a reference: of its names, and of patterns."""
        provider, model = provider.lower(), model.lower()
        return _rows(self._layer.found(provider, self._known(provider, model).names))

    def turns(self, provider: str, model: str, start: datetime, end: datetime) -> tuple[datetime, ...]:
        """Instants in [start, end) between which the price of a reference stays what it is; `start` is the first."""
        provider, model = provider.lower(), model.lower()
        known = self._known(provider, model)
        rows = _rows((*self._layer.found(provider, known.names), *known.corrected))
        edges = {edge for row in rows for edge in (row.effective_from, row.effective_to)}
        turns = {start, *filter(None, edges), *(known.seeded.turns(start, end) if known.seeded is not None else ())}
        return tuple(sorted(turn for turn in turns if start <= turn < end))

    def models(self, provider: str, org: str | None = None) -> tuple[str, ...]:
        """Ids of the models that a provider, or its alias, has prices for, sorted; no other orgs' own, no patterns."""
        provider = provider.lower()
        standing_in = self._aliases.get(provider, provider)
        rows = (*self._layer.rows(provider), *overlay.layer().rows(standing_in))
        listed = (row.model for row in rows if row.org in (None, org) and not is_pattern(row.model))
        return tuple(sorted({*seed.model_ids(standing_in), *listed}))

    def _known(self, provider: str, model: str) -> "_Known":
        return _known(self._aliases.get(provider, provider), model) if len(model) <= _MAX_NAME else _NOTHING


class _Known(NamedTuple):
    """What a reference means: its names, the nearest first, the overlay's rows for them, and the seed's model."""

    names: tuple[str, ...]
    corrected: Found
    seeded: seed.SeedModel | None


_NOTHING: Final = _Known((), (), None)


@lru_cache(maxsize=_REFERENCES_KEPT)
def _known(provider: str, model: str) -> _Known:
    seeded = seed.find_model(provider, model)
    meant = (seeded.id.lower(),) if seeded is not None else ()
    names = tuple(dict.fromkeys((model, *meant, undated(model))))
    return _Known(names, overlay.layer().found(provider, names), seeded)


def _rows(found: Found) -> tuple[PriceRow, ...]:
    return tuple(one.row for rows in found for one in rows)
