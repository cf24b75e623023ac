"""PostgreSQL for a service: one pool, SQL kept as named text, numbered migrations.

A service owns one schema, reached through `search_path`, and one role. SQL lives in `queries.sql` beside the store,
each statement under a line `-- name: charge_by_attempt`, and is called by that name.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from prometheus_client import Counter

from farebox import sqlstate
from farebox.errors import FareboxError, Transient

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 30.0
LOCK_TIMEOUT_MS: Final = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 60_000

ERRORS: Final = Counter(
    "farebox_postgres_errors",
    "Statements and connections that failed, by the class of their SQLSTATE; `driver` where PostgreSQL said nothing.",
    ["sqlstate_class"],
)

_NAME_LINE: Final = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)$", re.MULTILINE)
_MIGRATION_FILE: Final = re.compile(r"^\d{4}_[a-z0-9_]+\.sql$")


class MigrationFailed(FareboxError):
    """A migration did not apply, or the database knows one that this code does not."""


class Queries(Mapping[str, str]):
    """The named statements of one `queries.sql`; `queries["name"]` is the SQL text."""

    def __init__(self, statements: Mapping[str, str]) -> None:
        self._statements = MappingProxyType(dict(statements))

    @classmethod
    def load(cls, package: str) -> "Queries":
        """Read `queries.sql` of an import package. Raises ValueError for a name used twice or SQL without a name."""
        return cls.parse((files(package) / "queries.sql").read_text("utf-8"))

    @classmethod
    def parse(cls, text: str) -> "Queries":
        preamble, *rest = _NAME_LINE.split(text)
        if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
            raise ValueError("SQL before the first `-- name:` line")
        names, bodies = rest[::2], rest[1::2]
        if len(set(names)) != len(names):
            raise ValueError(f"a query name is used twice among {sorted(names)}")
        return cls({name: body.strip() for name, body in zip(names, bodies, strict=True)})

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


async def open_pool(dsn: str, *, schema: str, size: int) -> Pool:
    """A pool of at most `size` connections whose `search_path` is `schema`.

    Does not connect: a service starts, and stays alive, while its database is away.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=60.0,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        reset=_as_it_is,
        server_settings={
            "search_path": schema,
            "application_name": f"farebox-{schema}",
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "jit": "off",
        },
    )


async def _as_it_is(_: Connection) -> None:
    """Nothing here changes a session beyond its transaction; asyncpg's own reset is one more round trip each time."""


def is_about_data(error: BaseException) -> bool:
    """Whether the values of a statement are to blame: PostgreSQL refuses them, or the driver cannot even send them.

    asyncpg's error of a value that does not fit its parameter is an InterfaceError and a ValueError.
    """
    if isinstance(error, asyncpg.PostgresError):
        return sqlstate.is_about_data(error.sqlstate or "")
    return (
        isinstance(error, asyncpg.InterfaceError)
        and isinstance(error, ValueError)
        and not isinstance(error, asyncpg.ClientConfigurationError)
    )


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed later: whatever else PostgreSQL, its driver or the network says."""
    return isinstance(error, _OF_THE_DATABASE) and not is_about_data(error)


_OF_THE_DATABASE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors after which a retry may succeed into `Transient`; all others pass."""
    try:
        yield
    except _OF_THE_DATABASE as error:
        code = getattr(error, "sqlstate", None)
        ERRORS.labels(sqlstate.class_of(code) if code else "driver").inc()
        if is_about_data(error):
            raise
        said = f"{type(error).__name__} ({code})" if code else type(error).__name__
        raise Transient(f"PostgreSQL: {said}: {error}") from error


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One connection in one transaction. Errors of the database that are not about the data become `Transient`."""
    async with session(pool) as connection, connection.transaction():
        yield connection


@asynccontextmanager
async def session(pool: Pool) -> AsyncIterator[Connection]:
    """One connection without a transaction, for single statements; errors as in `transaction`."""
    with translated():
        try:
            async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                yield connection
        except asyncpg.ReadOnlySQLTransactionError:
            # Another server may take the writes by now: a connection to this one would never find out.
            await pool.expire_connections()
            raise


async def migrate(dsn: str, *, schema: str, package: str) -> list[str]:
    """Bring `schema` up to date and return the migrations applied now.

    Applies `farebox/migrations` (tables every service has, the outbox) and then `<package>/migrations`, forward only,
    each file in its own transaction, all under one advisory lock so that replicas starting together take turns.
    Raises MigrationFailed with the file's name; what was applied before it stays.
    """
    connection = await asyncpg.connect(
        dsn,
        timeout=CONNECT_TIMEOUT_S,
        server_settings={"search_path": schema},
    )
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", f"farebox.migrate.{schema}")
        await connection.execute("SELECT set_config('lock_timeout', $1, false)", str(LOCK_TIMEOUT_MS))
        return await _apply_missing(connection, _migrations("farebox") + _migrations(package))
    finally:
        await connection.close()


async def _apply_missing(connection: Connection, migrations: list[tuple[str, str]]) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {row["name"] for row in await connection.fetch("SELECT name FROM migration")}
    if unknown := applied - {name for name, _ in migrations}:
        raise MigrationFailed(f"the database is newer than this code: it has {sorted(unknown)}")
    fresh = [(name, text) for name, text in migrations if name not in applied]
    for name, text in fresh:
        try:
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute("INSERT INTO migration (name) VALUES ($1)", name)
        except asyncpg.PostgresError as error:
            raise MigrationFailed(f"{name}: {error}") from error
    return [name for name, _ in fresh]


def _migrations(package: str) -> list[tuple[str, str]]:
    folder = files(package) / "migrations"
    found = sorted((entry for entry in _entries(folder) if _MIGRATION_FILE.match(entry.name)), key=lambda e: e.name)
    return [(f"{package}/{entry.name}", entry.read_text("utf-8")) for entry in found]


def _entries(folder: Traversable) -> list[Traversable]:
    return list(folder.iterdir()) if folder.is_dir() else []


async def ping(pool: Pool) -> list[str]:
    """What keeps the database from its work, as a readiness check tells it; empty when it answers and takes writes."""
    try:
        async with session(pool) as connection:
            if await connection.fetchval(_TAKES_WRITES, timeout=CONNECT_TIMEOUT_S):
                return []
            await pool.expire_connections()
    except Transient as error:
        return [str(error)]
    return ["PostgreSQL: takes no writes"]


_TAKES_WRITES: Final = "SELECT current_setting('transaction_read_only') = 'off'"
