"""Metering with topics, group and database of the test's own."""

from collections.abc import AsyncIterator, Callable

import pytest

from support.books import Books, open_books
from support.metering_service import MeteringService, open_metering_service


@pytest.fixture
async def books(kafka: str, database: Callable[[str], str]) -> AsyncIterator[Books]:
    """Metering's topics and database, without a replica at work."""
    async with open_books(kafka, database("metering")) as books:
        yield books


@pytest.fixture
async def service(database: Callable[[str], str]) -> AsyncIterator[MeteringService]:
    """Metering on a database of the test's own, without Kafka."""
    async with open_metering_service(database("metering")) as service:
        yield service
