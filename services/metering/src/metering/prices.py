"""The prices in use: the seed with every override that the database has, and whether they are still the newest."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from farebox.clock import Clock
from farebox.events import Envelope, PriceListed
from farebox.ids import new_id
from farebox.kafka import Message
from farebox.pricing import Catalogue, PriceRow
from metering import metrics
from metering.announcement import SOURCE
from metering.charge import PriceBook
from metering.store import Store

log = structlog.get_logger()


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

    def _listed(self, rows: Sequence[PriceRow]) -> Message:
        provider, model = rows[0].provider.lower(), rows[0].model.lower()
        key = f"{provider}/{model}"
        event = PriceListed(provider=provider, model=model, rows=tuple(rows))
        return Message.carrying(Envelope(new_id(), SOURCE, self._clock.now(), key, event), topic=self._topic, key=key)
