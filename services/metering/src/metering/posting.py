"""Posting: attempts are charged and written, with whatever prices are the newest when the transaction begins."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import structlog

from farebox.clock import Clock
from farebox.ids import new_id
from farebox.kafka import Message
from farebox.outbox import Relay
from metering import announcement, metrics
from metering.attempt import Attempt
from metering.booking import Fresh
from metering.charge import PriceBook, charge_all
from metering.errors import PricesChanged
from metering.prices import Prices
from metering.store import Page, Store

log = structlog.get_logger()

SETTLE_ATTEMPTS_MAX: Final = 1_000
"""Suspended attempts in one transaction."""

T = TypeVar("T")


class Posting:
    """Charges attempts as they come, and again those in suspense when prices have changed."""

    def __init__(self, store: Store, prices: Prices, relay: Relay, clock: Clock, *, topic: str) -> None:
        self._store = store
        self._prices = prices
        self._relay = relay
        self._clock = clock
        self._topic = topic

    async def post(self, attempts: Sequence[Attempt]) -> Fresh:
        """Charge and write attempts, each id once. Raises Transient while the database is away."""

        async def once(book: PriceBook) -> Fresh:
            charged = charge_all(book, attempts)
            return await self._store.post(
                charged, revision=book.revision, at=self._clock.now(), announce=self._announce
            )

        fresh = await self._with_newest_prices(once)
        metrics.ENTRIES.inc(len(fresh.entries))
        metrics.DUPLICATES.inc(len(attempts) - len(fresh.entries) - len(fresh.suspended))
        for suspended in fresh.suspended:
            metrics.SUSPENSE.labels(suspended.reason.value).inc()
        self._relay.wake()
        return fresh

    async def settle(self) -> int:
        """Charge everything in suspense again; returns how many attempts have a price now."""
        settled, after = 0, UUID(int=0)
        while True:
            page = await self._with_newest_prices(partial(self._settle, after))
            settled += page.settled
            if page.last is None:
                return settled
            after = page.last

    async def _settle(self, after: UUID, book: PriceBook) -> Page:
        page = await self._store.settle(
            lambda attempts: charge_all(book, attempts),
            revision=book.revision,
            after=after,
            attempts_max=SETTLE_ATTEMPTS_MAX,
            at=self._clock.now(),
            announce=self._announce,
        )
        if page.settled:
            metrics.SETTLED.inc(page.settled)
            log.info("suspense_settled", attempts=page.settled)
            self._relay.wake()
        return page

    async def _with_newest_prices(self, work: Callable[[PriceBook], Awaitable[T]]) -> T:
        book = await self._prices.book()
        while True:
            try:
                return await work(book)
            except PricesChanged:
                metrics.REPRICED.inc()
                book = await self._prices.refresh()

    def _announce(self, fresh: Fresh) -> list[Message]:
        at = self._clock.now()
        return [
            *announcement.priced(fresh.entries, at, topic=self._topic),
            *(announcement.suspended(one, at, new_id(), topic=self._topic) for one in fresh.suspended),
        ]
