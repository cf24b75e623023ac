from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farebox.errors import Transient
from farebox.postgres import migrate
from farebox_local.databases import create_database, create_role, create_schema, role_of
from farebox_local.postgres import Postgres
from support.alerts import crossed
from support.eventually import eventually
from support.notifying import Notifying, notifier_settings, open_notifying, record
from support.receivers import Hook, Inbox


@pytest.fixture
async def own_postgres(server_folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Postgres, str]]:
    """A server that the test may kill, and the DSN of the notifier's database on it."""
    server = Postgres(server_folder / request.node.name)
    server.start()
    role = role_of("notifier")
    await create_role(server.dsn(), role, "notifier", "secret")
    await create_database(server.dsn(), "farebox")
    await create_schema(server.dsn("farebox"), "notifier", role)
    dsn = server.dsn("farebox", role, "secret")
    await migrate(dsn, schema="notifier", package="notifier")
    yield server, dsn
    server.stop()


async def test_postgresql_killed_while_sending_loses_nothing_and_kills_nobody(
    own_postgres: tuple[Postgres, str], inbox: Inbox, hook: Hook
) -> None:
    server, dsn = own_postgres
    hook.hanging = True
    async with open_notifying(notifier_settings(dsn, inbox.port, delivery_lease_s=6)) as notifying:
        await notifying.webhook(hook.url)
        await notifying.tell(crossed())
        await eventually(lambda: hook.at_once == 1)
        server.kill()
        hook.hanging = False
        hook.release.set()
        with pytest.raises(Transient):
            await notifying.hand_over(record(crossed()))
        assert notifying.worker.problems() == []
        server.start()
        await notifying.tell(crossed())
        states = await eventually(lambda: settled(notifying))
    assert states == ["delivered", "delivered"]


async def settled(notifying: Notifying) -> list[str]:
    """The states of all deliveries, once none is pending."""
    states = [delivery["state"] for delivery in await notifying.items("/api/deliveries")]
    assert "pending" not in states
    return states
