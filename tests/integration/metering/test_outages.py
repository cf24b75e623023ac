"""Kafka or PostgreSQL killed and restarted under traffic: a replica recovers by itself, nothing is lost or doubled."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farebox.postgres import migrate
from farebox_local.databases import create_database, create_role, create_schema, role_of
from farebox_local.kafka import Kafka
from farebox_local.postgres import Postgres
from support.attempts import attempt
from support.books import Books, open_books
from support.eventually import eventually


@pytest.fixture
def own_postgres(server_folder: Path) -> Iterator[Postgres]:
    """A server that the test may kill."""
    server = Postgres(server_folder / "metering-outage")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_kafka(server_folder: Path) -> Iterator[Kafka]:
    """A broker that the test may kill."""
    broker = Kafka(server_folder / "metering-outage")
    broker.start()
    yield broker
    broker.stop()


async def metering_database(server: Postgres) -> str:
    """The DSN, as metering's role, of a new and migrated database."""
    role, password = role_of("metering"), "of-the-test"
    await create_role(server.dsn(), role, "metering", password)
    await create_database(server.dsn(), "metering")
    await create_schema(server.dsn("metering"), "metering", role)
    dsn = server.dsn("metering", role, password)
    await migrate(dsn, schema="metering", package="metering")
    return dsn


async def priced_once(books: Books, count: int) -> None:
    """Every attempt once in the ledger, in the rollups and on usage.priced (where copies may follow)."""
    await books.entries(count)
    assert await books.value("SELECT sum(attempts) FROM usage_day") == count
    assert len({event.entry_id for event in await books.priced(count)}) == count


async def test_postgres_killed_and_restarted(kafka: str, own_postgres: Postgres) -> None:
    async with open_books(kafka, await metering_database(own_postgres)) as books, books.replica() as replica:
        await books.send(*(attempt() for _ in range(100)))
        await books.entries(100)
        await asyncio.to_thread(own_postgres.kill)
        await books.send(*(attempt() for _ in range(100)))
        await eventually(replica.ready)
        assert replica.live() == []
        await asyncio.to_thread(own_postgres.start)
        await priced_once(books, 200)
        await books.handled(200)


async def test_kafka_killed_and_restarted(own_kafka: Kafka, database: Callable[[str], str]) -> None:
    async with open_books(own_kafka.bootstrap, database("metering")) as books, books.replica() as replica:
        await books.send(*(attempt() for _ in range(100)))
        await priced_once(books, 100)
        await asyncio.to_thread(own_kafka.kill)
        assert replica.live() == []
        await asyncio.to_thread(own_kafka.start)
        await books.send(*(attempt() for _ in range(100)))
        await priced_once(books, 200)
