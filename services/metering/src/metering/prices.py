"""The prices in use: the seed with every override that the database has, and whether they are still the newest."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
import structlog
from pydantic import JsonValue

from farebox.clock import Clock
from farebox.compacted import Order
from farebox.errors import Invalid, NotFound
from farebox.http import parsed
from farebox.ids import new_id
from farebox.pricing import Catalogue, PriceRow, Rates
from metering import metrics
from metering.charge import PriceBook
from metering.lead import raised_at, references
from metering.listing import Moment
from metering.store import Store
from metering.tariff import shown

log = structlog.get_logger()

_TICK: Final = timedelta(microseconds=1)
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Of time, as far as prices are concerned."""

PROMISES_A_LEAD: Final = 30
PROMISE_EVERY_MIN: Final = timedelta(seconds=2)
PROMISE_EVERY_MAX: Final = timedelta(seconds=30)


class Prices:
    """The newest price book this replica knows. `post` and `settle` of the store refuse an older one."""

    def __init__(self, store: Store, clock: Clock, *, topic: str, lead: timedelta) -> None:
        self._store = store
        self._lead = lead
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

    async def add(self, wanted: Mapping[str, JsonValue]) -> PriceRow:
        """Add an override; every replica and gateway learns of it from `price.catalogue`.

        Raises Invalid for one that makes no sense, or for a raise that is to take effect before its lead time is over.
        """
        async with self._store.changing_prices(self._topic) as listing:
            moment = await listing.moment(self._lead)
            row = timed(wanted, Catalogue(await listing.rows()), moment)
            await listing.add(row, moment.now)
        log.info("price_added", id=row.id, provider=row.provider, model=row.model, org=row.org)
        await self.refresh()
        return row

    async def end(self, id_: str, at: datetime | None) -> PriceRow:
        """End an override; from then on another row applies, or the seed, or nothing.

        Raises NotFound, or Invalid for an instant that makes no sense, or before the lead time of a raise is over.
        """
        async with self._store.changing_prices(self._topic) as listing:
            moment = await listing.moment(self._lead)
            rows = await listing.rows()
            row = next((each for each in rows if each.id == id_), None)
            if row is None:
                raise NotFound(f"no price has the id {id_}")
            row = ended(row, at, Catalogue(rows), moment)
            await listing.change(row, moment.now)
        log.info("price_ended", id=row.id, provider=row.provider, model=row.model, org=row.org)
        await self.refresh()
        return row

    async def promise(self) -> bool:
        """Tell gateways how old what they know of prices may be, unless another replica has just told them."""
        async with self._store.telling_prices(self._topic) as listing:
            return await listing.promise(self._lead, promise_every(self._lead) / 2)

    async def orders(self, after: str, limit: int) -> Sequence[tuple[str, Order]]:
        return [(key, (revision,)) for key, revision in await self._store.price_revisions(after, limit)]

    async def publish_again(self, keys: Sequence[str]) -> None:
        async with self._store.telling_prices(self._topic) as listing:
            for key in keys:
                provider, _, model = key.partition("/")
                await listing.announce(provider, model, self._clock.now())

    async def in_force(self, provider: str, model: str) -> dict[str, object] | None:
        """What a call would be priced at now, in USD a million tokens or a thousand calls; None if it has no price."""
        rates = await self._rates(provider, model, None)
        return None if rates is None else shown(rates)

    async def _rates(self, provider: str, model: str, org: str | None) -> Rates | None:
        book = await self.book()
        return book.catalogue.rates_for(provider, model, self._clock.now(), org)


def timed(wanted: Mapping[str, JsonValue], before: Catalogue, moment: Moment) -> PriceRow:
    """The row that is asked for, with what the caller left out.

    Without `effective_from` a model that has a price gets the new one from now on, or a lead time from now where it is
    a raise; for one that had none it holds from the beginning of time, so that it settles what waits for it.
    Raises Invalid.
    """
    if "id" in wanted:
        raise Invalid("id: is given by the service")
    fields = {"source": "api", **wanted, "id": str(new_id())}
    is_dated = wanted.get("effective_from") is not None
    if not is_dated:
        row = parsed(PriceRow, orjson.dumps(fields | {"effective_from": BEGINNING.isoformat()}))
        known = any(before.rates_for(row.provider, name, moment.now, row.org) for name in references(before, row))
        fields["effective_from"] = (moment.now if known else BEGINNING).isoformat()
    row = parsed(PriceRow, orjson.dumps(fields))
    at = raised_at(before, row, moment.earliest)
    if at is None:
        return row
    if is_dated:
        raise Invalid(f"effective_from: {_too_soon(at, moment)}")
    return parsed(PriceRow, orjson.dumps(fields | {"effective_from": moment.earliest.isoformat()}))


def ended(row: PriceRow, at: datetime | None, before: Catalogue, moment: Moment) -> PriceRow:
    """The row with its end. Without an instant it ends now, or a lead time from now where what follows is dearer.

    One that has not begun is called off: it ends a microsecond after its start, because no row is ever taken away.
    Raises Invalid.
    """
    end = max(moment.now, row.effective_from + _TICK) if at is None else at
    if end < moment.now:
        raise Invalid(f"effective_to: is in the past; it is {moment.now.isoformat()}")
    if row.effective_to is not None and row.effective_to <= end:
        raise Invalid(f"effective_to: it ends at {row.effective_to.isoformat()} already")
    found = parsed(PriceRow, orjson.dumps(row.model_dump(mode="json") | {"effective_to": end.isoformat()}))
    raised = raised_at(before, found, moment.earliest)
    if raised is None:
        return found
    if at is not None:
        raise Invalid(f"effective_to: {_too_soon(raised, moment)}")
    return found.model_copy(update={"effective_to": moment.earliest})


def _too_soon(raised: datetime, moment: Moment) -> str:
    return (
        f"this is a raise as of {raised.isoformat()}, and a raise made now can take effect from "
        f"{moment.earliest.isoformat()} on; leave it out to have it take effect as soon as it can"
    )


def promise_every(lead: timedelta) -> timedelta:
    """How often gateways are told: often enough that some dozens of records may be late before one refuses a call."""
    return min(max(lead / PROMISES_A_LEAD, PROMISE_EVERY_MIN), PROMISE_EVERY_MAX)
