"""One transaction in the price list, and what is told of it on `price.catalogue`."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pydantic import ValidationError

from farebox.events import CatalogueAsOf, Envelope, PriceListed
from farebox.events.price import AS_OF_KEY
from farebox.ids import new_id
from farebox.kafka import Message
from farebox.outbox import enqueue
from farebox.postgres import Connection, Queries
from farebox.pricing import PriceRow
from metering.announcement import SOURCE
from metering.errors import PriceUnreadable

_SQL: Final = Queries.load("metering")


class Moment(NamedTuple):
    """The database's time, and the earliest instant at which a raise made now takes effect."""

    now: datetime
    earliest: datetime


class Listing:
    """The statements of a change of prices, on a connection in a transaction that holds the lock on them."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic

    async def moment(self, lead: timedelta) -> Moment:
        row = await self._connection.fetchrow(_SQL["price_moment"], lead)
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        return Moment(row["now"], row["earliest"])

    async def rows(self) -> list[PriceRow]:
        """Every override, oldest first."""
        return [read_price(row["price"]) for row in await self._connection.fetch(_SQL["prices_all"])]

    async def add(self, row: PriceRow, now: datetime) -> None:
        """Add an override, and announce all of its model's."""
        provider, model = row.provider.lower(), row.model.lower()
        await self._connection.execute(_SQL["price_add"], row.id, provider, model, row.model_dump_json())
        await self.announce(provider, model, now)

    async def change(self, row: PriceRow, now: datetime) -> None:
        """Put a row in the place of the one with its id, and announce all of its model's."""
        await self._connection.execute(_SQL["price_change"], row.id, row.model_dump_json(), now)
        await self.announce(row.provider.lower(), row.model.lower(), now)

    async def announce(self, provider: str, model: str, now: datetime) -> None:
        """Put a model's rows and their revision into the outbox; nothing for what is no model with rows."""
        found = await self._connection.fetch(_SQL["prices_of_model"], provider, model)
        if not found:
            return
        revision = await self._connection.fetchval(_SQL["price_revision"], provider, model)
        rows = tuple(read_price(row["price"]) for row in found)
        event = PriceListed(provider=provider, model=model, rows=rows, revision=revision)
        await self._enqueue(event, f"{provider}/{model}", now)

    async def promise(self, lead: timedelta, at_most_every: timedelta) -> bool:
        """Tell gateways that they know every raise in force until a lead time from now; False if just told."""
        row = await self._connection.fetchrow(_SQL["price_promise"], lead, at_most_every)
        if row is None:
            return False
        event = CatalogueAsOf(as_of=row["as_of"], lead_s=int(lead.total_seconds()), revision=row["revision"])
        await self._enqueue(event, AS_OF_KEY, row["as_of"])
        return True

    async def _enqueue(self, event: PriceListed | CatalogueAsOf, key: str, at: datetime) -> None:
        message = Message.carrying(Envelope(new_id(), SOURCE, at, key, event), topic=self._topic, key=key)
        await enqueue(self._connection, [message])


def read_price(json: str) -> PriceRow:
    """Raises PriceUnreadable."""
    try:
        return PriceRow.model_validate_json(json)
    except ValidationError as error:
        raise PriceUnreadable(f"a price override: {error}") from error
