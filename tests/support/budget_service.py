"""A budget service without its process: real PostgreSQL, a clock set by hand, HTTP through the ASGI app."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson

from budget.administration import Administration
from budget.posting.handlers import UsageHandler
from budget.routes import routes
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.shares.rules import WindowKey
from budget.shares.silence import LOOK_EVERY_S
from budget.store import QUERIES, Store
from farebox import outbox
from farebox.auth import Caller, Role, key_hash, sign
from farebox.events import CallAttributes, Envelope, Held, HeldWindow, LeaseUse, Measured, Principal, UsagePriced
from farebox.http import api
from farebox.ids import new_id
from farebox.invariants import look
from farebox.kafka import Message, Offsets, Record, Rejected
from farebox.money import NANO
from farebox.postgres import Pool, open_pool, session
from farebox.shares import (
    Answer,
    Ask,
    Beat,
    BeatAnswer,
    Need,
    Opening,
    RaiseRequest,
    ShareReport,
    ShareTotal,
    StartRequest,
    WindowAsk,
    WindowSpent,
)
from support.clock import HandClock

SECRET = "s" * 32
ANY_CALL = CallAttributes(upstream="openai", provider="openai", model="gpt-4o")
LOST_AFTER = timedelta(minutes=10)
RELEASE_AFTER = timedelta(minutes=65)


def nothing() -> None:
    """No relay to wake."""


@dataclass
class BudgetService:
    """The service as an administrator, a gateway and metering use it."""

    dsn: str
    pool: Pool
    clock: HandClock
    admin: httpx.AsyncClient
    shares: Shares
    raises: Raises
    offsets: Offsets
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

    async def ready(self, limit: str, *gateways: str, **fields: Any) -> dict[str, Any]:
        """An organisation with one budget, a key, and gateways that have started (one, `gw`, if none is named)."""
        await self.org()
        await self.budget(limit, **fields)
        for gateway in gateways or ("gw",):
            await self.start(gateway)
        return await self.key()

    async def balance(self, account: str = "acme") -> dict[str, Any]:
        """The last balance on the account's path."""
        answer = await self.admin.get("/api/balances", params={"account": account})
        return dict(answer.json()["items"][-1])

    async def figures(self, account: str = "acme") -> tuple[str, str]:
        """What is spent and what is held of the last budget on the account's path."""
        balance = await self.balance(account)
        return balance["spent"], balance["held"]

    async def broken(self) -> set[str]:
        """The sentences about the books that do not hold."""
        return {each.name for each in await look(self.pool, QUERIES) if each.rows}

    async def start(
        self,
        gateway: str = "gw",
        *,
        last_epoch: int = 0,
        spent: Mapping[WindowKey, int] | None = None,
        is_whole: bool = True,
        last_record: int = 0,
        process_id: UUID | None = None,
        more: bool = False,
    ) -> int:
        """The epoch that this process is given."""
        totals = [WindowSpent(budget_id=key[0], window_start=key[1], spent=n) for key, n in (spent or {}).items()]
        request = StartRequest(
            gateway_id=gateway,
            process_id=process_id or new_id(),
            last_epoch=last_epoch,
            last_record=last_record,
            is_whole=is_whole,
            spent=tuple(totals),
            more=more,
        )
        return (await self.shares.start(request)).epoch

    async def raise_(
        self,
        key: dict[str, Any],
        cost: int = 0,
        *,
        least: int | None = None,
        windows: Sequence[WindowAsk] = (),
        gateway: str = "gw",
        epoch: int = 1,
        reports: Sequence[ShareReport] = (),
        call: CallAttributes = ANY_CALL,
        by: Raises | None = None,
    ) -> Answer:
        """Ask to raise these windows, or else to open the shares of a call of `cost` nano-USD; `by` another replica."""

        def need(nano: int) -> Need:
            return Need(cost_nano_usd=nano, requests=1, tokens=100)

        opening = Opening(attributes=call, least=need(cost if least is None else least), need=need(cost))
        hashed = key_hash(key["api_key"])
        ask = Ask(key_hash=hashed, windows=tuple(windows)) if windows else Ask(key_hash=hashed, opening=opening)
        request = RaiseRequest(gateway_id=gateway, epoch=epoch, asks=(ask,), reports=tuple(reports))
        return (await (by or self.raises).answer(request)).answers[0]

    async def opened(self, key: dict[str, Any], cost: int, **fields: Any) -> ShareTotal:
        """The one share that a call holds."""
        (share,) = (await self.raise_(key, cost, **fields)).shares
        return share

    async def beat(self, *reports: ShareReport, gateway: str = "gw", epoch: int = 1, **fields: Any) -> BeatAnswer:
        return await self.shares.beat(Beat(gateway_id=gateway, epoch=epoch, reports=reports, **fields))

    async def recalled(self, gateway: str) -> list[UUID]:
        """One beat; the budgets of which idle rights are asked back."""
        return [window.budget_id for window in (await self.beat(gateway=gateway)).recalled]

    async def wait(self, lasts: timedelta) -> int:
        """Time passes while the service looks for lost gateways; how many shares it put in suspense."""
        suspended = await self.shares.suspend_lost(LOST_AFTER)
        for _ in range(int(lasts.total_seconds() / LOOK_EVERY_S)):
            self.clock.move(timedelta(seconds=LOOK_EVERY_S))
            suspended += await self.shares.suspend_lost(LOST_AFTER)
        return suspended

    async def release(self, gateway: str = "gw", epoch: int = 1, **fields: Any) -> httpx.Response:
        body = {"gateway": gateway, "epoch": epoch, "reason": "its disk was empty"} | fields
        return await self.admin.post("/api/suspended-shares/release", json=body)

    def priced(
        self,
        key: dict[str, Any],
        billed: int,
        held: Held | None = None,
        lease: LeaseUse | None = None,
        **fields: Any,
    ) -> UsagePriced:
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
            "lease": lease,
            "held": held,
        }
        return UsagePriced.model_validate(values | fields)

    async def post(self, *entries: UsagePriced) -> list[Rejected]:
        return list(await self.handler([record(entry) for entry in entries]))

    async def told(self, topic: str = "budget.events") -> list[tuple[str, Any]]:
        """What the outbox holds for a topic: type and event."""
        async with session(self.pool) as connection:
            messages = await outbox.waiting(connection, topic)
        return [((dict(m.headers)["ce_type"] or b"").decode(), orjson.loads(m.value or b"")) for m in messages]


def announcing(topic: str, entry: UsagePriced) -> Message:
    """The entry as metering publishes it."""
    return Message.carrying(Envelope(new_id(), "farebox/metering", entry.priced_at, "k", entry), topic=topic, key="k")


def window(share: ShareTotal) -> WindowKey:
    return share.budget_id, share.window_start


def report(share: ShareTotal, *, returned: int = 0, overdrawn: int = 0) -> ShareReport:
    """A gateway's totals of a share that was granted so much."""
    return ShareReport(
        budget_id=share.budget_id,
        window_start=share.window_start,
        granted=share.granted,
        returned=returned,
        overdrawn=overdrawn,
    )


def total(share: ShareTotal, need: int, *, least: int | None = None, want: int | None = None) -> WindowAsk:
    """Ask that this share be raised to so much in all."""
    return WindowAsk(
        budget_id=share.budget_id,
        window_start=share.window_start,
        least=need if least is None else least,
        need=need,
        want=need if want is None else want,
    )


def held(
    *shares: ShareTotal,
    settled: int,
    uncertain: int = 0,
    gateway: str = "gw",
    epoch: int = 1,
    call: CallAttributes = ANY_CALL,
) -> Held:
    """What a call held, and what its gateway settled there: the charge and what is uncertain beyond it."""
    return Held(
        gateway=gateway,
        epoch=epoch,
        windows=tuple(HeldWindow(budget_id=share.budget_id, start=share.window_start) for share in shares),
        settled=Measured(money=settled, requests=1, tokens=100),
        uncertain=Measured(money=uncertain),
        attributes=call,
    )


def record(event: UsagePriced) -> Record:
    envelope = Envelope(new_id(), "farebox/metering", event.priced_at, event.principal.subject(), event)
    message = Message.carrying(envelope, topic="usage.priced", key=event.principal.subject())
    return Record(message.topic, 0, 0, 0, message.key, message.value, message.headers)


def won(amount: str) -> int:
    """Nano-won."""
    whole, _, part = amount.partition(".")
    return int(whole) * NANO + int((part or "0").ljust(9, "0"))


@asynccontextmanager
async def open_budget_service(dsn: str) -> AsyncIterator[BudgetService]:
    """On a migrated database, without the service's process; the clock stands at noon in Seoul."""
    pool = await open_pool(dsn, schema="budget", size=10)
    clock = HandClock(datetime(2026, 3, 2, 3, 0, tzinfo=UTC))
    store = Store(pool)
    shares = Shares(store, clock, nothing, release_after_s=RELEASE_AFTER.total_seconds())
    raises = Raises(store, clock, nothing)
    offsets = Offsets(pool, "budget")
    app = api(routes(Administration(store, clock, nothing), shares, raises), secret=SECRET)
    token = sign(SECRET, Caller("gateway", Role.PLATFORM_ADMIN), datetime.now(UTC))
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://budget", headers=headers) as admin:
        handler = UsageHandler(store, clock, nothing, offsets)
        yield BudgetService(dsn, pool, clock, admin, shares, raises, offsets, handler)
    await pool.close()
