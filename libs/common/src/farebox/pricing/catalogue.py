"""Which rates apply to a call."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from farebox.pricing.price import Charge, Unpriced
from farebox.pricing.rates import Rates
from farebox.pricing.row import PriceRow
from farebox.pricing.usage import Usage


class Catalogue:
    """The seed with price rows on top."""

    def __init__(self, rows: Iterable[PriceRow] = (), *, aliases: Mapping[str, str] | None = None) -> None:
        raise NotImplementedError

    def add(self, row: PriceRow) -> None:
        """Layer a row on top; the same id again replaces the row."""
        raise NotImplementedError

    def replace(self, provider: str, model: str, rows: Iterable[PriceRow]) -> None:
        """Every row of one model, as a `price.catalogue` record lists them."""
        raise NotImplementedError

    def rates_for(self, provider: str, model: str, at: datetime, org: str | None = None) -> Rates | None:
        """The rates in force at an instant (timezone-aware), or None."""
        raise NotImplementedError

    def price(self, provider: str, model: str, usage: Usage, at: datetime, org: str | None = None) -> Charge | Unpriced:
        """`price` with the rates in force at `at`."""
        raise NotImplementedError

    def models(self, provider: str) -> tuple[str, ...]:
        """Model ids of a provider, sorted."""
        raise NotImplementedError
