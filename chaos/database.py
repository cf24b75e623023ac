"""What a standby that takes over does to a database's clients: no writes for a while, connections broken."""

import asyncpg

_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'farebox' AND pid <> pg_backend_pid()"
)


async def make_read_only(dsn: str, *, read_only: bool) -> None:
    """For every transaction that begins from now on."""
    await _run(dsn, f"ALTER SYSTEM SET default_transaction_read_only = {'on' if read_only else 'off'}")
    await _run(dsn, "SELECT pg_reload_conf()")


async def break_connections(dsn: str) -> None:
    """All but those of servers; each is told that an administrator ended it."""
    await _run(dsn, _TERMINATE)


async def _run(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10, server_settings={"default_transaction_read_only": "off"})
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
