"""A budget service without its process: real PostgreSQL, a clock set by hand, HTTP through the ASGI app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
from farebox.leasing import Attributes, GrantAnswer, GrantRequest, Heartbeat, LeaseReport, Need, StartRequest

from budget.administration import Office
from budget.posting.handlers import UsageHandler
from budget.routes import routes
from budget.shares.operations import Leases
from budget.shares.silence import LOOK_EVERY_S
from budget.store import Store
from farebox import outbox
from farebox.auth import Caller, Role, key_hash, sign
from farebox.events import Envelope, LeaseUse, Principal, UsagePriced
from farebox.http import api
from farebox.ids import new_id
from farebox.kafka import Message, Record, Rejected
from farebox.money import NANO
from farebox.postgres import Pool, open_pool, session
from support.clock import HandClock

SECRET = "s" * 32
ANY_CALL = Attributes()
LOST_AFTER = timedelta(minutes=10)


def nothing() -> None:
    """No relay to wake."""


@dataclass
class BudgetOffice:
    """The service as an administrator, a gateway and metering use it."""

    pool: Pool
    clock: HandClock
    admin: httpx.AsyncClient
    leases: Leases
    handler: UsageHandler

    async def org(self, currency: str = "KRW", fx_rate: str = "1300", **settings: Any) -> None:
        """platform → acme → core → minh."""
        for body in (
            {"id": "acme", "kind": "org", "parent": "platform", "currency": currency, "fx_rate": fx_rate, **settings},
            {"id": "core", "kind": "team", "parent": "acme"},
            {"id": "minh", "kind": "user", "parent": "core"},
        ):
            answer = await self.admin.post("/api/accounts", json=body | {"name": body["id"].title()})
            assert answer.status_code == 201, answer.text

    async def key(self, account: str = "minh") -> dict[str, Any]:
        answer = await self.admin.post("/api/keys", json={"account": account, "name": "laptop"})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def budget(self, limit: str, account: str = "acme", **fields: Any) -> UUID:
        body = {"account": account, "name": f"{account} {limit}", "limit": limit, "window": {"kind": "day"}} | fields
        answer = await self.admin.post("/api/budgets", json=body)
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["budget_id"])

    async def balance(self, account: str = "acme") -> dict[str, Any]:
        """The first balance on the account's path."""
        answer = await self.admin.get("/api/balances", params={"account": account})
        return dict(answer.json()["items"][-1])

    async def grant(
        self,
        key: dict[str, Any],
        cost: int,
        *,
        least: int | None = None,
        want: int | None = None,
        epoch: int = 1,
        lease_id: UUID | None = None,
        reports: tuple[LeaseReport, ...] = (),
        attributes: Attributes = ANY_CALL,
        gateway: str = "gw",
        by: Leases | None = None,
    ) -> GrantAnswer:
        """Ask for a lease of `cost` nano-USD; `by` is another replica."""

        def need(nano: int) -> Need:
            return Need(cost_nano_usd=nano, requests=1, tokens=100)

        return await (by or self.leases).grant(
            GrantRequest(
                gateway_id=gateway,
                epoch=epoch,
                lease_id=lease_id or new_id(),
                key_hash=key_hash(key["api_key"]),
                attributes=attributes,
                least=need(cost if least is None else least),
                need=need(cost),
                want=need(cost if want is None else want),
                reports=reports,
            )
        )

    async def start(self, last_epoch: int = 0, reports: tuple[LeaseReport, ...] = (), gateway: str = "gw") -> int:
        return (await self.leases.start(StartRequest(gateway_id=gateway, last_epoch=last_epoch, reports=reports))).epoch

    async def beat(self, gateway: str = "gw", reports: tuple[LeaseReport, ...] = ()) -> tuple[UUID, ...]:
        """One heartbeat; the leases that are asked back."""
        answer = await self.leases.heartbeat(Heartbeat(gateway_id=gateway, epoch=1, reports=reports))
        return answer.recalled

    async def wait(self, lasts: timedelta) -> int:
        """Time passes while the service looks for lost gateways; how many leases it put in suspense."""
        suspended = await self.leases.suspend_lost(LOST_AFTER)
        for _ in range(int(lasts.total_seconds() / LOOK_EVERY_S)):
            self.clock.move(timedelta(seconds=LOOK_EVERY_S))
            suspended += await self.leases.suspend_lost(LOST_AFTER)
        return suspended

    def priced(self, key: dict[str, Any], billed: int, lease_id: UUID | None = None, **fields: Any) -> UsagePriced:
        """A ledger entry of one call with this key."""
        entry_id = new_id()
        values: dict[str, Any] = {
            "entry_id": entry_id,
            "attempt_id": entry_id,
            "request_id": new_id(),
            "occurred_at": self.clock.now(),
            "priced_at": self.clock.now(),
            "principal": Principal(org="acme", team="core", user="minh", key=key["key_id"]),
            "provider": "openai",
            "model": "gpt-4o",
            "cost_nano_usd": billed,
            "billed_nano": billed,
            "currency": "KRW",
            "price_version": "test",
            "tokens": 100,
            "usage_source": "reported",
            "lease": None if lease_id is None else LeaseUse(lease_id=lease_id, reserve_nano=billed),
        }
        return UsagePriced.model_validate(values | fields)

    async def post(self, *entries: UsagePriced) -> list[Rejected]:
        return list(await self.handler([record(entry) for entry in entries]))

    async def told(self, topic: str = "budget.events") -> list[tuple[str, Any]]:
        """What the outbox holds for a topic: type and event."""
        async with session(self.pool) as connection:
            messages = await outbox.waiting(connection, topic)
        return [((dict(m.headers)["ce_type"] or b"").decode(), orjson.loads(m.value or b"")) for m in messages]


def record(event: UsagePriced) -> Record:
    envelope = Envelope(new_id(), "farebox/metering", event.priced_at, event.principal.subject(), event)
    message = Message.carrying(envelope, topic="usage.priced", key=event.principal.subject())
    return Record(message.topic, 0, 0, 0, message.key, message.value, message.headers)


def won(amount: str) -> int:
    """Nano-won."""
    whole, _, part = amount.partition(".")
    return int(whole) * NANO + int((part or "0").ljust(9, "0"))


@asynccontextmanager
async def open_office(dsn: str) -> AsyncIterator[BudgetOffice]:
    """On a migrated database, without the service's process; the clock stands at noon in Seoul."""
    pool = await open_pool(dsn, schema="budget", size=10)
    clock = HandClock(datetime(2026, 3, 2, 3, 0, tzinfo=UTC))
    store = Store(pool)
    leases = Leases(store, clock, nothing)
    app = api(routes(Office(store, clock, nothing), leases), secret=SECRET)
    token = sign(SECRET, Caller("gateway", Role.PLATFORM_ADMIN), datetime.now(UTC))
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://budget", headers=headers) as admin:
        yield BudgetOffice(pool, clock, admin, leases, UsageHandler(store, clock, nothing))
    await pool.close()
