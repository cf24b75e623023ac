"""The prices in use: the seed with every override that the database has, and whether they are still the newest."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from pydantic import JsonValue

from farebox.clock import Clock
from farebox.errors import Invalid
from farebox.events import Envelope, PriceListed
from farebox.ids import new_id
from farebox.kafka import Message
from farebox.pricing import Catalogue, PriceRow, Rates
from metering import metrics
from metering.announcement import SOURCE
from metering.charge import PriceBook
from metering.store import Store
from metering.tariff import shown

log = structlog.get_logger()

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Of time, as far as prices are concerned."""


class Prices:
    """The newest price book this replica knows. `post` and `settle` of the store refuse an older one."""

    def __init__(self, store: Store, clock: Clock, *, topic: str) -> None:
        self._store = store
        self._clock = clock
        self._topic = topic
        self._book: PriceBook | None = None
        self._reading = asyncio.Lock()
        self._on_change: list[Callable[[], None]] = []

    def on_change(self, call: Callable[[], None]) -> None:
        """Have this called whenever the book has been replaced."""
        self._on_change.append(call)

    @property
    def revision(self) -> int | None:
        """Of the book in use; None before the first."""
        return None if self._book is None else self._book.revision

    async def book(self) -> PriceBook:
        """The price book in use. Raises Transient if none could be read yet: a seed price may be overridden."""
        return self._book or await self.refresh()

    async def refresh(self) -> PriceBook:
        """Read the overrides again. Raises Transient while the database is away; the book in use stays in use."""
        async with self._reading:
            revision, rows = await self._store.prices()
            if self._book is None or self._book.revision != revision:
                self._book = PriceBook(Catalogue(rows), revision)
                metrics.PRICE_REVISION.set(revision)
                log.info("prices_read", revision=revision, overrides=len(rows))
                for call in self._on_change:
                    call()
            return self._book

    async def add(self, row: PriceRow) -> None:
        """Add an override; every replica and gateway learns of it from `price.catalogue`."""
        await self._store.add_price(row, self._listed)
        log.info("price_added", id=row.id, provider=row.provider, model=row.model, org=row.org)
        await self.refresh()

    async def completed(self, wanted: Mapping[str, JsonValue]) -> dict[str, object]:
        """The fields of a new row, with what the caller left out.

        Without `effective_from` a model that has a price gets the new one from now on; for one that had none it holds
        from the beginning of time, so that it settles what waits for it.
        """
        row: dict[str, object] = {"source": "api", **wanted}
        if "id" in row:
            raise Invalid("id: is given by the service")
        row["id"] = str(new_id())
        if row.get("effective_from") is None:
            provider, model, org = (row.get(name) for name in ("provider", "model", "org"))
            known = await self._rates(str(provider), str(model), None if org is None else str(org))
            row["effective_from"] = BEGINNING if known is None else self._clock.now()
        return row

    async def in_force(self, provider: str, model: str) -> dict[str, object] | None:
        """What a call would be priced at now, in USD a million tokens or a thousand calls; None if it has no price."""
        rates = await self._rates(provider, model, None)
        return None if rates is None else shown(rates)

    async def _rates(self, provider: str, model: str, org: str | None) -> Rates | None:
        book = await self.book()
        return book.catalogue.rates_for(provider, model, self._clock.now(), org)

    def _listed(self, rows: Sequence[PriceRow]) -> Message:
        provider, model = rows[0].provider.lower(), rows[0].model.lower()
        key = f"{provider}/{model}"
        event = PriceListed(provider=provider, model=model, rows=tuple(rows))
        return Message.carrying(Envelope(new_id(), SOURCE, self._clock.now(), key, event), topic=self._topic, key=key)
