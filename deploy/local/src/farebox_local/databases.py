"""Roles, schemas and databases: one PostgreSQL role and one schema per service."""

import asyncpg

SERVICES_WITH_TABLES = ("metering", "budget", "notifier")


def role_of(service: str) -> str:
    """The PostgreSQL role a service signs in as; its schema has the service's own name."""
    return f"farebox_{service}"


async def create_database(admin_dsn: str, database: str, template: str = "template1") -> bool:
    """Create a database as a copy of the template. Returns False when it exists already."""
    async with _Session(admin_dsn) as admin:
        if await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            return False
        await _run(admin, "format('CREATE DATABASE %I TEMPLATE %I', $1::text, $2::text)", database, template)
        return True


async def drop_database(admin_dsn: str, database: str) -> None:
    """Drop a database if it is there, ending the sessions it has."""
    async with _Session(admin_dsn) as admin:
        await _run(admin, "format('DROP DATABASE IF EXISTS %I WITH (FORCE)', $1::text)", database)


async def create_role(admin_dsn: str, role: str, schema: str, password: str) -> None:
    """Create the role, or give it this password; unqualified names mean those of its schema."""
    async with _Session(admin_dsn) as admin:
        # Roles belong to the whole server, where another test process may be at the same.
        await admin.execute("SELECT pg_advisory_lock(hashtext('farebox roles'))")
        if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
            await _run(admin, "format('CREATE ROLE %I', $1::text)", role)
        await _run(admin, "format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", role, password)
        await _run(admin, "format('ALTER ROLE %I SET search_path = %I', $1::text, $2::text)", role, schema)


async def create_schema(admin_dsn: str, schema: str, owner: str) -> None:
    """Create the schema in the database the DSN names, owned by the role."""
    async with _Session(admin_dsn) as admin:
        await _run(
            admin, "format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', $1::text, $2::text)", schema, owner
        )


class _Session:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def __aenter__(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self._dsn, timeout=10)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


async def _run(admin: asyncpg.Connection, statement: str, *names: str) -> None:
    # A statement that creates things takes no parameters, so the server quotes the names (%I, %L).
    await admin.execute(await admin.fetchval(f"SELECT {statement}", *names))
