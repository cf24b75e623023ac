"""A database that takes no writes for a while, as one whose server was demoted, or that is restored."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def read_only(admin_dsn: str, dsn: str) -> AsyncIterator[None]:
    """Sessions of the database end, and new ones are read-only. Those that began meanwhile stay so."""
    name = _name(dsn)
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await connection.execute(_END, name)
        try:
            yield
        finally:
            await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    finally:
        await connection.close()


@asynccontextmanager
async def snapshot(admin_dsn: str, dsn: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The database as it is now, as a copy that the function puts in its place. Its sessions end both times."""
    name, copy = _name(dsn), f"{_name(dsn)}_copy"
    admin = await asyncpg.connect(admin_dsn)

    async def restore() -> None:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.execute(f'ALTER DATABASE "{copy}" RENAME TO "{name}"')

    try:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await admin.execute(_END, name)
        await admin.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        yield restore
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')
        await admin.close()


def _name(dsn: str) -> str:
    return dsn.rpartition("/")[2].partition("?")[0]


_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
