"""Metering with topics, group and database of the test's own."""

from collections.abc import AsyncIterator, Callable

import pytest

from support.books import Books, open_books
from support.desk import Desk, open_desk


@pytest.fixture
async def books(kafka: str, database: Callable[[str], str]) -> AsyncIterator[Books]:
    """Metering's topics and database, without a replica at work."""
    async with open_books(kafka, database("metering")) as books:
        yield books


@pytest.fixture
async def desk(database: Callable[[str], str]) -> AsyncIterator[Desk]:
    """Metering on a database of the test's own, without Kafka."""
    async with open_desk(database("metering")) as desk:
        yield desk
