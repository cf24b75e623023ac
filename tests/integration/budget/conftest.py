"""The budget service on a database of the test's own."""

from collections.abc import AsyncIterator, Callable

import pytest

from support.budget_service import BudgetService, open_budget_service


@pytest.fixture
async def service(database: Callable[[str], str]) -> AsyncIterator[BudgetService]:
    async with open_budget_service(database("budget")) as service:
        yield service
