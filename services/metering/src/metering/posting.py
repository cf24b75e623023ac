"""Posting: attempts are charged and written, with whatever prices are the newest when the transaction begins."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import structlog

from farebox.clock import Clock
from farebox.outbox import OutboxRelay
from metering import metrics
from metering.attempt import Attempt
from metering.booking import Fresh
from metering.charge import PriceBook, charge_all
from metering.draft import Draft
from metering.errors import PricesChanged
from metering.prices import Prices
from metering.store import Beside, Page, Store, nothing_beside

log = structlog.get_logger()

SETTLE_ATTEMPTS_MAX: Final = 1_000
"""Suspended attempts in one transaction."""

T = TypeVar("T")


class Posting:
    """Charges attempts as they come, and again those in suspense when prices have changed."""

    def __init__(self, store: Store, prices: Prices, relay: OutboxRelay, clock: Clock, *, topic: str) -> None:
        self._store = store
        self._prices = prices
        self._relay = relay
        self._clock = clock
        self._topic = topic

    async def post(self, attempts: Iterable[Sequence[Attempt]], beside: Beside = nothing_beside) -> Fresh:
        """Charge and write attempts, given a few at a time; they are gone through again if prices have changed.

        `beside` is done in the same transaction. Raises Transient while the database is away.
        """
        fresh, seen = await self._with_newest_prices(partial(self._post, attempts, beside))
        metrics.ENTRIES.inc(len(fresh.entries))
        metrics.DUPLICATES.inc(seen - len(fresh.entries) - len(fresh.suspended))
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

    async def _post(self, attempts: Iterable[Sequence[Attempt]], beside: Beside, book: PriceBook) -> tuple[Fresh, int]:
        draft, seen = self._draft(), 0
        for some in attempts:
            seen += len(some)
            draft.add(charge_all(book, some))
        return await self._store.post(draft, beside, revision=book.revision), seen

    async def _settle(self, after: UUID, book: PriceBook) -> Page:
        page = await self._store.settle(
            self._draft(),
            lambda attempts: charge_all(book, attempts),
            revision=book.revision,
            after=after,
            attempts_max=SETTLE_ATTEMPTS_MAX,
        )
        if page.settled:
            metrics.SETTLED.inc(page.settled)
            log.info("suspense_settled", attempts=page.settled)
            self._relay.wake()
        return page

    def _draft(self) -> Draft:
        return self._store.draft(at=self._clock.now(), topic=self._topic)

    async def _with_newest_prices(self, work: Callable[[PriceBook], Awaitable[T]]) -> T:
        book = await self._prices.book()
        while True:
            try:
                return await work(book)
            except PricesChanged:
                metrics.REPRICED.inc()
                book = await self._prices.refresh()
