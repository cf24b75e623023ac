"""A budget service on a database of the benchmark's own, without its process: an org, its users and their budgets."""

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx

from budget.administration import Administration
from budget.app import SCHEMA
from budget.routes import routes
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.store import Store
from farebox.auth import Caller, Role, sign
from farebox.clock import SystemClock
from farebox.http import api
from farebox.postgres import migrate
from farebox_local.databases import create_database, create_role, create_schema, role_of
from farebox_local.postgres import GivenPostgres

SECRET = "of-the-benchmark-of-the-benchmark"  # noqa: S105 - of a process that lives for a minute
USERS = 300


def nothing() -> None:
    """No relay to wake."""


def shares_of(store: Store) -> Shares:
    return Shares(store, SystemClock(), nothing, release_after_s=3_900)


def raises_of(store: Store) -> Raises:
    return Raises(store, SystemClock(), nothing)


async def database(server: GivenPostgres) -> str:
    """The DSN of a new database, migrated."""
    name, role = f"bench_{uuid.uuid4().hex[:12]}", role_of("budget")
    await create_role(server.dsn(), role, "budget", SECRET)
    await create_database(server.dsn(), name)
    await create_schema(server.dsn(name), "budget", role)
    dsn = server.dsn(name, role, SECRET)
    await migrate(dsn, schema=SCHEMA, package="budget")
    return dsn


async def company(store: Store) -> str:
    """An org with a hard budget, its users with soft ones; the API key of the first user."""
    app = api(routes(Administration(store, SystemClock(), nothing), shares_of(store), raises_of(store)), secret=SECRET)
    token = sign(SECRET, Caller("bench", Role.PLATFORM_ADMIN), datetime.now(UTC))
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://b", headers=headers) as admin:

        async def made(what: str, **body: Any) -> dict[str, Any]:
            answer = await admin.post(f"/api/{what}", json=body)
            answer.raise_for_status()
            return dict(answer.json())

        window = {"kind": "month"}
        await made("accounts", id="org", kind="org", parent="platform", name="Org", currency="USD")
        await made("budgets", account="org", name="all", limit="1000000", window=window, mode="hard")
        for number in range(USERS):
            await made("accounts", id=f"user-{number}", kind="user", parent="org", name="User")
            await made("budgets", account=f"user-{number}", name="own", limit="100", window=window, mode="soft")
        key: str = (await made("keys", account="user-0", name="bench"))["api_key"]
        return key
