"""Metering with topics, group and database of the test's own."""

from collections.abc import AsyncIterator, Callable

import pytest

from support.books import Books, open_books


@pytest.fixture
async def books(kafka: str, database: Callable[[str], str]) -> AsyncIterator[Books]:
    """Metering's topics and database, without a replica at work."""
    async with open_books(kafka, database("metering")) as books:
        yield books
