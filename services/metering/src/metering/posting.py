"""Posting: attempts are charged and written, with whatever prices are the newest when the transaction begins."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import structlog

from farebox.clock import Clock
from farebox.events import SuspenseReason
from farebox.outbox import OutboxRelay
from metering import metrics
from metering.attempt import Attempt
from metering.booking import Fresh
from metering.charge import PriceBook, charge_all
from metering.draft import Draft
from metering.errors import PricesChanged
from metering.prices import Prices
from metering.store import Beside, Page, Store, nothing_beside
from metering.units import charge_unit

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
        fresh, seen = await with_newest_prices(self._prices, partial(self._post, attempts, beside))
        metrics.ENTRIES.inc(len(fresh.entries))
        metrics.DUPLICATES.inc(seen - len(fresh.entries) - len(fresh.suspended))
        for suspended in fresh.suspended:
            metrics.SUSPENSE.labels(suspended.reason.value).inc()
        metrics.SUSPENSE.labels(SuspenseReason.NO_RATE_FOR_UNIT.value).inc(len(fresh.units))
        self._relay.wake()
        return fresh

    async def settle(self) -> int:
        """Charge everything in suspense again; returns how many attempts and units have a price now."""
        return await self._settle_all(self._settle) + await self._settle_all(self._settle_units)

    async def _settle_all(self, settle: Callable[[UUID, PriceBook], Awaitable[Page]]) -> int:
        settled, after = 0, UUID(int=0)
        while True:
            page = await with_newest_prices(self._prices, partial(settle, after))
            settled += page.settled
            if page.settled:
                metrics.SETTLED.inc(page.settled)
                log.info("suspense_settled", entries=page.settled)
                self._relay.wake()
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
        return await self._store.settle(
            self._draft(),
            lambda attempts: charge_all(book, attempts),
            revision=book.revision,
            after=after,
            attempts_max=SETTLE_ATTEMPTS_MAX,
        )

    async def _settle_units(self, after: UUID, book: PriceBook) -> Page:
        return await self._store.settle_units(
            partial(charge_unit, book),
            at=self._clock.now(),
            topic=self._topic,
            revision=book.revision,
            after=after,
            units_max=SETTLE_ATTEMPTS_MAX,
        )

    def _draft(self) -> Draft:
        return self._store.draft(at=self._clock.now(), topic=self._topic)


async def with_newest_prices(prices: Prices, work: Callable[[PriceBook], Awaitable[T]]) -> T:
    """Do it again with the newer price book for as long as it raises PricesChanged."""
    book = await prices.book()
    while True:
        try:
            return await work(book)
        except PricesChanged:
            metrics.REPRICED.inc()
            book = await prices.refresh()
