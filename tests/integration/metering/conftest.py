"""Metering with topics, group and database of the test's own."""

import uuid
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from pydantic import SecretStr

from farebox.kafka import Producer
from metering.app import Names
from metering.settings import Settings
from support.books import Books
from support.topic import create_topics


@pytest.fixture
async def books(kafka: str, database: Callable[[str], str]) -> AsyncIterator[Books]:
    """Metering's topics and database, without a replica at work."""
    mark = uuid.uuid4().hex[:12]
    names = Names(f"requests.{mark}", f"priced.{mark}", f"prices.{mark}", f"metering.{mark}")
    dsn = database("metering")
    settings = Settings(
        port=0,
        ops_port=0,
        kafka_bootstrap=kafka,
        service_secret=SecretStr("s" * 32),
        postgres_dsn=SecretStr(dsn),
    )
    await create_topics(kafka, {names.requests: 3, f"{names.requests}.dead": 1, names.priced: 3})
    await create_topics(kafka, {names.prices: 1}, compacted=True)
    connection = await asyncpg.connect(dsn)
    async with Producer(kafka, client_id="test") as producer:
        yield Books(settings, names, producer, connection)
    await connection.close()
