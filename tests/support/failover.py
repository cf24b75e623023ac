"""A database that takes no writes for a while, as one whose server was demoted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def read_only(admin_dsn: str, dsn: str) -> AsyncIterator[None]:
    """Sessions of the database end, and new ones are read-only. Those that began meanwhile stay so."""
    name = dsn.rpartition("/")[2].partition("?")[0]
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        try:
            yield
        finally:
            await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    finally:
        await connection.close()
