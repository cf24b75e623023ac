"""The budget service on a database of the test's own."""

from collections.abc import AsyncIterator, Callable

import pytest

from support.office import BudgetOffice, open_office


@pytest.fixture
async def office(database: Callable[[str], str]) -> AsyncIterator[BudgetOffice]:
    async with open_office(database("budget")) as office:
        yield office
