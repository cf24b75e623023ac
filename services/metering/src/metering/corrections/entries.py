"""An attempt's entries and its corrections as rows, on a connection in a transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from farebox.kafka import Message
from farebox.outbox import enqueue
from farebox.postgres import Connection, Queries
from metering import rows
from metering.attempt import Attempt
from metering.corrections.rules import Booked, Correction
from metering.units import UnitLeft

_SQL: Final = Queries.load("metering")


class Noted(NamedTuple):
    """A correction as it was stated, and the answer that was given."""

    attempt_id: UUID
    stated: str
    reason: str
    answer: str


class Entries:
    """What the books say of one attempt, while nobody else corrects it."""

    def __init__(self, connection: Connection, attempt_id: UUID) -> None:
        self._connection = connection
        self._attempt_id = attempt_id

    async def begin(self) -> None:
        await self._connection.execute(_SQL["correction_begin"], self._attempt_id)

    async def made(self, correction_id: UUID) -> Noted | None:
        """The correction that was made under this id, of whatever attempt."""
        row = await self._connection.fetchrow(_SQL["correction_made"], correction_id)
        return None if row is None else Noted(*row)

    async def waiting(self) -> Attempt | None:
        """The attempt, if it waits for its price. It does so until the transaction ends."""
        row = await self._connection.fetchrow(_SQL["correction_waiting"], self._attempt_id)
        return None if row is None else rows.attempt_of(row["attempt"], row["occurred_at"])

    async def units(self) -> list[UnitLeft]:
        """What of a charged attempt waits for its rate. It does so until the transaction ends."""
        found = await self._connection.fetch(_SQL["correction_units"], self._attempt_id)
        return [
            UnitLeft(rows.attempt_of(row["attempt"], row["occurred_at"]), row["unit"], row["count"]) for row in found
        ]

    async def booked(self) -> Booked | None:
        """The charge and its corrections, added up; None if there is no charge."""
        found = await self._connection.fetch(_SQL["correction_entries"], self._attempt_id)
        return booked(found) if found else None

    async def add(self, correction: Correction, entry_id: UUID, at: datetime, told: Message) -> None:
        """Write the entry, its part of the rollups, and what is told of it."""
        await self._connection.execute(_SQL["tariffs_add"], *rows.tariffs({correction.tariff: correction.tariff.id}))
        await self._connection.execute(
            _SQL["correction_add"],
            entry_id,
            self._attempt_id,
            correction.corrects,
            at,
            correction.billed_nano,
            correction.cost_nano_usd,
            correction.tariff.id,
            correction.input_tokens,
            correction.output_tokens,
            correction.attempt.received,
        )
        await enqueue(self._connection, [told])

    async def note(self, correction_id: UUID, entry_id: UUID, corrects: UUID, at: datetime, noted: Noted) -> None:
        await self._connection.execute(
            _SQL["correction_note"],
            correction_id,
            entry_id,
            noted.attempt_id,
            corrects,
            noted.stated,
            noted.reason,
            at,
            noted.answer,
        )


def booked(entries: Sequence[Any]) -> Booked:
    """The sum of an attempt's entries. The last of its charge and corrections says what usage is known."""
    (last,) = (row for row in entries if row["is_in_line"] and not row["is_corrected"])
    return Booked(
        rows.attempt_of(last["attempt"], last["occurred_at"]),
        last["entry_id"],
        sum(row["cost_nano_usd"] for row in entries),
        sum(row["amount_nano"] for row in entries),
    )
