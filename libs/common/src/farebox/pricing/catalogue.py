"""Which rates apply to a call."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from farebox.pricing import seed
from farebox.pricing.price import Charge, Unpriced, UnpricedReason, price
from farebox.pricing.rates import Rates
from farebox.pricing.row import PriceRow
from farebox.pricing.usage import Usage

_MAX_NAME: Final = 256
"""Characters of the longest model name looked up: callers choose it, and answers are kept."""


class _Override(NamedTuple):
    row: PriceRow
    rates: Rates


class Catalogue:
    """The seed with price rows on top; an org's own rows above those for all.

    Rows arrive at run time, in any order and more than once; what applies does not depend on that order. A row
    for a model applies to every reference that the seed resolves to that model, unless the reference has rows of
    its own. `aliases` names, for a provider the seed does not know (an OpenAI-compatible upstream), the seed
    provider whose list prices stand in.
    """

    def __init__(self, rows: Iterable[PriceRow] = (), *, aliases: Mapping[str, str] | None = None) -> None:
        seed.load()
        self._aliases = {name.lower(): provider.lower() for name, provider in (aliases or {}).items()}
        self._rows: dict[tuple[str, str], dict[str, _Override]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: PriceRow) -> None:
        """Lay a row on top. The same id again replaces the row of that model."""
        key = (row.provider.lower(), row.model.lower())
        self._rows.setdefault(key, {})[row.id] = _Override(row, row.compiled())

    def replace(self, provider: str, model: str, rows: Iterable[PriceRow]) -> None:
        """Take these as all rows of one model, as a record of `price.catalogue` lists them; none for a tombstone."""
        self._rows.pop((provider.lower(), model.lower()), None)
        for row in rows:
            self.add(row)

    def rates_for(self, provider: str, model: str, at: datetime, org: str | None = None) -> Rates | None:
        """The rates in force at an instant; None if the model is unknown or has no price then.

        `provider` and `model` are matched as genai-prices matches them. Raises ValueError for a naive `at`.
        """
        if at.tzinfo is None:
            raise ValueError("a price needs an instant with a time zone")
        provider, model = provider.lower(), model.lower()
        seeded = self._seeded(provider, model)
        override = self._override(provider, model, at, org)
        if override is None and seeded is not None:
            override = self._override(provider, seeded.id.lower(), at, org)
        if override is not None or seeded is None:
            return override
        return seeded.rates_at(at)

    def price(self, provider: str, model: str, usage: Usage, at: datetime, org: str | None = None) -> Charge | Unpriced:
        """The cost of a call at the rates in force at the instant its attempt started."""
        rates = self.rates_for(provider, model, at, org)
        if rates is not None:
            return price(rates, usage)
        if (provider.lower(), model.lower()) in self._rows:
            return Unpriced(UnpricedReason.NO_PRICE_AT_TIME, f"{provider}/{model} has no price at {at.isoformat()}")
        return Unpriced(UnpricedReason.UNKNOWN_MODEL, f"{provider}/{model} is not in the catalogue")

    def rows_for(self, provider: str, model: str) -> tuple[PriceRow, ...]:
        """Rows that may apply to a reference: its own, and those of the model that the seed resolves it to."""
        provider, model = provider.lower(), model.lower()
        seeded = self._seeded(provider, model)
        names = {model, seeded.id.lower()} if seeded is not None else {model}
        return tuple(row for name in sorted(names) for row, _ in self._rows.get((provider, name), {}).values())

    def turns(self, provider: str, model: str, start: datetime, end: datetime) -> tuple[datetime, ...]:
        """Instants in [start, end) between which the price of a reference stays what it is; `start` is the first."""
        edges = {edge for row in self.rows_for(provider, model) for edge in (row.effective_from, row.effective_to)}
        seeded = self._seeded(provider.lower(), model.lower())
        turns = {start, *filter(None, edges), *(seeded.turns(start, end) if seeded is not None else ())}
        return tuple(sorted(turn for turn in turns if start <= turn < end))

    def models(self, provider: str, org: str | None = None) -> tuple[str, ...]:
        """Ids of the models that a provider, or its alias, has prices for, sorted; without other orgs' own."""
        provider = provider.lower()
        seeded = seed.model_ids(self._aliases.get(provider, provider))
        listed = (
            row.model
            for (owner, _), rows in self._rows.items()
            if owner == provider
            for row, _ in rows.values()
            if row.org in (None, org)
        )
        return tuple(sorted({*seeded, *listed}))

    def _seeded(self, provider: str, model: str) -> seed.SeedModel | None:
        if len(model) > _MAX_NAME:
            return None
        return seed.find_model(self._aliases.get(provider, provider), model)

    def _override(self, provider: str, model: str, at: datetime, org: str | None) -> Rates | None:
        rows = self._rows.get((provider, model))
        if rows is None:
            return None
        in_force = [
            override for override in rows.values() if override.row.org in (None, org) and _covers(override.row, at)
        ]
        applies = max(in_force, key=_precedence, default=None)
        return None if applies is None else applies.rates


def _covers(row: PriceRow, at: datetime) -> bool:
    return row.effective_from <= at and (row.effective_to is None or at < row.effective_to)


def _precedence(override: _Override) -> tuple[bool, datetime, str]:
    row = override.row
    return row.org is not None, row.effective_from, row.id
