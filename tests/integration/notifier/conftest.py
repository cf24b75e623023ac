"""A notifier on the run's PostgreSQL, with a relay and an endpoint that the test commands."""

from collections.abc import AsyncIterator, Callable

import pytest

from support.notifying import Notifying, notifier_settings, open_notifying
from support.receivers import Hook, Inbox, mail_relay, webhook_endpoint


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with mail_relay() as inbox:
        yield inbox


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with webhook_endpoint() as hook:
        yield hook


@pytest.fixture
def dsn(database: Callable[[str], str]) -> str:
    """The DSN of a migrated database of this test's own."""
    return database("notifier")


@pytest.fixture
async def notifying(dsn: str, inbox: Inbox) -> AsyncIterator[Notifying]:
    """One replica that retries without waiting."""
    async with open_notifying(notifier_settings(dsn, inbox.port)) as notifying:
        yield notifying
