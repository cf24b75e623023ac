"""One transaction in the books."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from farebox.kafka import Message
from farebox.outbox import enqueue
from farebox.postgres import Connection, Queries
from metering import rows
from metering.charge import Charged, Entry, Suspended
from metering.dimension import Dimension, dimension_of
from metering.interned import Interned
from metering.tariff import Tariff
from metering.terms import Terms, terms_of

_SQL: Final = Queries.load("metering")


class Fresh(NamedTuple):
    """What was new of a batch; the rest had been posted before."""

    entries: Sequence[Entry]
    suspended: Sequence[Suspended]


Announce = Callable[[Fresh], list[Message]]
"""What to tell of a batch, in its own transaction."""


class Stored:
    """What a replica knows to be stored of the tables of things that are stored once."""

    def __init__(self) -> None:
        self.dimensions: Interned[Dimension] = Interned()
        self.terms: Interned[Terms] = Interned()
        self.tariffs: Interned[Tariff] = Interned()


class Booking:
    """The statements of a batch, on a connection in a transaction. Nothing is known to be stored until it commits."""

    def __init__(self, connection: Connection, stored: Stored) -> None:
        self.connection = connection
        self._stored = stored
        self._new: list[Callable[[], None]] = []

    async def close_suspense(self, entries: Sequence[Entry], at: datetime) -> None:
        """Whatever of these waited for its price waits no longer. To be called before `write`."""
        await self.connection.execute(_SQL["suspense_close"], [e.attempt.event.attempt_id for e in entries], at)

    async def write(self, charged: Charged, at: datetime, announce: Announce) -> Fresh:
        """Ledger, rollups, suspense and outbox."""
        fresh = Fresh(await self._add_entries(charged.entries, at), await self._add_suspended(charged.suspended, at))
        await enqueue(self.connection, announce(fresh))
        return fresh

    async def explain_again(self, claimed: Sequence[Any], waiting: Sequence[Suspended]) -> None:
        """Keep the reason of what still waits up to date: a price without an output rate changes it."""
        known = {row["attempt_id"]: (row["reason"], row["detail"]) for row in claimed}
        changed = [
            (one.attempt.event.attempt_id, one.reason.value, one.detail)
            for one in waiting
            if known[one.attempt.event.attempt_id] != (one.reason.value, one.detail)
        ]
        if changed:
            await self.connection.execute(_SQL["suspense_explain"], *zip(*changed, strict=True))

    def note_stored(self) -> None:
        """The transaction has committed."""
        for note in self._new:
            note()

    async def _add_entries(self, entries: Sequence[Entry], at: datetime) -> Sequence[Entry]:
        if not entries:
            return entries
        events = [entry.attempt.event for entry in entries]
        dimension_ids, dimensions = self._stored.dimensions.look_up([dimension_of(event) for event in events])
        terms_ids, terms = self._stored.terms.look_up([terms_of(event) for event in events])
        _, tariffs = self._stored.tariffs.look_up([entry.tariff for entry in entries])
        if dimensions:
            await self.connection.execute(_SQL["dimensions_add"], *rows.dimensions(dimensions))
            self._new.append(lambda: self._stored.dimensions.note_stored(dimensions))
        if terms:
            await self.connection.execute(_SQL["terms_add"], *rows.terms(terms))
            self._new.append(lambda: self._stored.terms.note_stored(terms))
        if tariffs:
            await self.connection.execute(_SQL["tariffs_add"], *rows.tariffs(tariffs))
            self._new.append(lambda: self._stored.tariffs.note_stored(tariffs))
        await self.connection.execute(_SQL["incoming_open"])
        columns = rows.charges(entries, dimension_ids, terms_ids)
        await self.connection.copy_records_to_table(rows.INCOMING, records=zip(*columns, strict=True))
        added = await self.connection.fetch(_SQL["entries_add"], at)
        if len(added) == len(entries):
            return entries
        ids: set[UUID] = {row["entry_id"] for row in added}
        return [entry for entry in entries if entry.attempt.event.attempt_id in ids]

    async def _add_suspended(self, waiting: Sequence[Suspended], at: datetime) -> Sequence[Suspended]:
        if not waiting:
            return waiting
        added = await self.connection.fetch(_SQL["suspense_add"], at, *rows.suspended(waiting))
        ids: set[UUID] = {row["attempt_id"] for row in added}
        return [one for one in waiting if one.attempt.event.attempt_id in ids]
