"""What the budget service remembers. The only place that calls SQL.

async with Store.transaction() as unit:
    unit.registry   accounts, keys, budgets
    unit.books      windows, shares, postings, marks
    unit.announce   events out, through the outbox
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from budget.store.books import Books
from budget.store.registry import Registry
from farebox import outbox
from farebox.kafka import Message, Offsets, Record
from farebox.postgres import Connection, Pool, Queries, session, transaction

QUERIES: Final = Queries.load("budget")


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction's view: all of it happens, or none."""

    registry: Registry
    books: Books
    _connection: Connection

    async def announce(self, messages: Sequence[Message]) -> None:
        """Publish after commit, at least once."""
        if messages:
            await outbox.enqueue(self._connection, messages)

    async def note(self, offsets: Offsets, records: Sequence[Record]) -> None:
        """Store how far the effects go in the topic. Raises farebox.kafka.offsets.Behind."""
        await offsets.note(self._connection, records)


class Store:
    """The service's schema behind a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unit]:
        """Raises farebox.errors.Transient when PostgreSQL is away."""
        async with transaction(self._pool) as connection:
            yield _unit(connection)

    @asynccontextmanager
    async def audit(self) -> AsyncIterator[Unit]:
        """One instant of the books for as long as it takes; nothing of it stays. Raises Transient."""
        async with session(self._pool) as connection, connection.transaction(isolation="repeatable_read"):
            await connection.execute(QUERIES["audit_begin"])
            yield _unit(connection)


def _unit(connection: Connection) -> Unit:
    return Unit(Registry(connection, QUERIES), Books(connection, QUERIES), connection)
