"""A handler with an effect in PostgreSQL, judged by a unique constraint, as every service has one."""

from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from farebox.kafka import Offsets, Record, Rejected
from farebox.postgres import Pool, transaction

_TABLE = "CREATE TABLE effect (value text PRIMARY KEY); CREATE TABLE attempt (value text)"
_EFFECT = "INSERT INTO effect SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_ATTEMPT = "INSERT INTO attempt SELECT unnest($1::text[])"


async def create_effects(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(_TABLE)
    await connection.close()


def storing(pool: Pool, offsets: Offsets | None = None) -> Callable[[Sequence[Record]], Awaitable[Sequence[Rejected]]]:
    """Each value once into `effect`, and once for every delivery into `attempt`."""

    async def handle(records: Sequence[Record]) -> Sequence[Rejected]:
        values = [(record.value or b"").decode() for record in records]
        async with transaction(pool) as connection:
            await connection.execute(_EFFECT, values)
            await connection.execute(_ATTEMPT, values)
            if offsets is not None:
                await offsets.note(connection, records)
        return []

    return handle


async def effects(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM effect")
    return count


async def attempts(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM attempt")
    return count
