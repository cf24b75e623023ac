"""One transaction in the books."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from farebox.outbox import enqueue
from farebox.postgres import Connection, Queries
from metering import announcement, rows
from metering.charge import Suspended
from metering.draft import Draft, Stored
from metering.tariff import Tariff
from metering.units import UnitEntry, UnitLeft

_SQL: Final = Queries.load("metering")

UNKNOWN_MODELS_MAX: Final = 1_000
"""Models without a price that are listed; a provider can make up any number of names."""


class Fresh(NamedTuple):
    """What was new of a batch: ids of entries, suspended attempts, and units that wait beside an entry. The rest had
    been posted before."""

    entries: Sequence[UUID]
    suspended: Sequence[Suspended]
    units: Sequence[UnitLeft] = ()


class Booking:
    """The statements of a batch, on a connection in a transaction."""

    def __init__(self, connection: Connection, stored: Stored) -> None:
        self.connection = connection
        self._stored = stored
        self._after_commit: list[Callable[[], None]] = []

    async def write(self, draft: Draft) -> Fresh:
        """Ledger, rollups, suspense and outbox. Whatever of it waited for its price waits no longer."""
        await self.connection.execute(_SQL["suspense_close"], list(draft.priced), draft.at)
        added = await self._add_entries(draft)
        suspended = await self._add_suspended(draft.suspended, draft.at)
        told = [*draft.priced.values()] if len(added) == len(draft.priced) else [draft.priced[id_] for id_ in added]
        told = [*told, *(draft.waiting[one.attempt.event.attempt_id] for one in suspended)]
        left = [unit for id_ in added for unit in draft.units.get(id_, ())] if draft.units else []
        if left:
            await self.connection.execute(_SQL["units_add"], draft.at, *rows.units(left))
            told += map(draft.told_of, left)
        if unknown := {draft.unknown_models[id_] for id_ in added if id_ in draft.unknown_models}:
            await self.connection.execute(
                _SQL["unknown_models_add"], draft.at, UNKNOWN_MODELS_MAX, *zip(*unknown, strict=True)
            )
        await enqueue(self.connection, told)
        return Fresh(added, suspended, left)

    async def write_units(self, entries: Sequence[UnitEntry], at: datetime, *, topic: str) -> None:
        """Ledger, rollups and outbox of units that waited, and wait no longer."""
        if not entries:
            return
        lookup = self._stored.tariffs.lookup()
        columns = rows.unit_entries(entries, [lookup.id(entry.tariff) for entry in entries])
        await self._store_tariffs(lookup.new)
        await self.connection.execute(_SQL["units_close"], [entry.left.id for entry in entries], at)
        added = {row["entry_id"] for row in await self.connection.fetch(_SQL["unit_entries_add"], at, *columns)}
        told = [announcement.priced_unit(entry, at, topic=topic) for entry in entries if entry.left.id in added]
        await enqueue(self.connection, told)

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

    def committed(self) -> None:
        """Only now is known to be stored what was."""
        for note in self._after_commit:
            note()

    async def _add_entries(self, draft: Draft) -> list[UUID]:
        if not draft.rows:
            return []
        await self._store_new(draft)
        await self.connection.execute(_SQL["incoming_open"])
        await self.connection.copy_records_to_table(rows.INCOMING, records=draft.rows)
        return [row["entry_id"] for row in await self.connection.fetch(_SQL["entries_add"], draft.at)]

    async def _store_new(self, draft: Draft) -> None:
        stored, dimensions, terms, tariffs = self._stored, draft.dimensions.new, draft.terms.new, draft.tariffs.new
        if dimensions:
            await self.connection.execute(_SQL["dimensions_add"], *rows.dimensions(dimensions))
            self._after_commit.append(lambda: stored.dimensions.note_stored(dimensions))
        if terms:
            await self.connection.execute(_SQL["terms_add"], *rows.terms(terms))
            self._after_commit.append(lambda: stored.terms.note_stored(terms))
        await self._store_tariffs(tariffs)

    async def _store_tariffs(self, new: Mapping[Tariff, UUID]) -> None:
        if new:
            await self.connection.execute(_SQL["tariffs_add"], *rows.tariffs(new))
            self._after_commit.append(lambda: self._stored.tariffs.note_stored(new))

    async def _add_suspended(self, waiting: Sequence[Suspended], at: datetime) -> Sequence[Suspended]:
        if not waiting:
            return waiting
        added = await self.connection.fetch(_SQL["suspense_add"], at, *rows.suspended(waiting))
        ids: set[UUID] = {row["attempt_id"] for row in added}
        return [one for one in waiting if one.attempt.event.attempt_id in ids]
