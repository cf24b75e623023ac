"""A notifier without its process: real PostgreSQL, relay and endpoint; alerts handed over as Kafka would."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from farebox.auth import Caller, Role, sign
from farebox.events import CloudEvent, value_of
from farebox.http import api
from farebox.ids import new_id
from farebox.kafka import Record, Rejected
from farebox.postgres import Pool
from notifier.alert import Alert
from notifier.app import administration, database, delivering
from notifier.channel import Kind
from notifier.handlers import AlertHandler
from notifier.retry import Schedule
from notifier.settings import NotifierSettings
from notifier.store import Store
from notifier.worker import Worker
from support.alerts import enveloped, message

SECRET = "s" * 32
AT_ONCE = {kind: Schedule((0.0,) * 9) for kind in Kind}
"""Ten attempts, like the real schedules, without the waiting."""


def notifier_settings(dsn: str, smtp_port: int, **fields: Any) -> NotifierSettings:
    """Settings of a replica; loopback may be reached."""
    values: dict[str, Any] = {
        "port": 0,
        "ops_port": 0,
        "kafka_bootstrap": "127.0.0.1:1",
        "service_secret": SECRET,
        "postgres_dsn": dsn,
        "smtp_host": "127.0.0.1",
        "smtp_port": smtp_port,
        "smtp_tls": "none",
        "mail_from": "Farebox <alerts@farebox.example>",
        "console_url": "https://console.example",
        "sealing_key": urlsafe_b64encode(b"k" * 32).decode(),
        "webhook_allowed_networks": "127.0.0.0/8",
        "delivery_timeout_s": 5,
        "delivery_lease_s": 8,
    }
    return NotifierSettings(**(values | fields))


@dataclass
class Notifying:
    """The service as budget and an administrator use it. Its worker sends; `replica` adds another."""

    settings: NotifierSettings
    pool: Pool
    store: Store
    worker: Worker
    admin: httpx.AsyncClient

    async def tell(self, event: CloudEvent, event_id: UUID | None = None) -> UUID:
        """Hand over an event as its record; returns the event's id."""
        event_id = event_id or new_id()
        rejected = await self.hand_over(record(event, event_id))
        assert not rejected
        return event_id

    async def handler(self, records: Sequence[Record]) -> Sequence[Rejected]:
        """As the consumer calls it."""
        return await AlertHandler(self.store, console_url=self.settings.console_url, wake=self.worker.wake)(records)

    async def hand_over(self, *records: Record) -> list[Rejected]:
        return list(await self.handler(records))

    async def mail_channel(self, *recipients: str, account: str = "acme") -> dict[str, Any]:
        return await self.channel(account=account, kind="email", recipients=recipients or ["ops@example.com"])

    async def webhook(self, url: str, account: str = "acme", **fields: Any) -> dict[str, Any]:
        return await self.channel(account=account, kind="webhook", url=url, **fields)

    async def channel(self, **body: Any) -> dict[str, Any]:
        answer = await self.admin.post("/api/channels", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """A list of the API."""
        answer = await self.admin.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def delivery(self, **query: str) -> dict[str, Any]:
        """The newest delivery, with the log of its attempts."""
        newest = (await self.items("/api/deliveries", **query))[0]["delivery_id"]
        return dict((await self.admin.get(f"/api/deliveries/{newest}")).json())


@asynccontextmanager
async def open_notifying(
    settings: NotifierSettings, *, schedules: Mapping[Kind, Schedule] = AT_ONCE
) -> AsyncIterator[Notifying]:
    """A replica on a migrated database; an administrator is signed in."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(database(settings))
        worker = await stack.enter_async_context(delivering(settings, pool, schedules=schedules))
        served = api(administration(settings, pool, worker).routes(), secret=SECRET)
        admin = httpx.AsyncClient(
            transport=httpx.ASGITransport(served, raise_app_exceptions=False),
            base_url="http://notifier",
            headers={"authorization": bearer(Role.PLATFORM_ADMIN)},
        )
        await stack.enter_async_context(admin)
        yield Notifying(settings, pool, Store(pool), worker, admin)


async def put_down(settings: NotifierSettings, alert: Alert) -> UUID:
    """Write an alert and its deliveries without a worker to send them; returns the event's id."""
    envelope = enveloped(alert)
    async with database(settings) as pool:
        assert await Store(pool).take_up(envelope, alert, value_of(alert).decode())
    return envelope.id


def bearer(role: Role) -> str:
    return f"Bearer {sign(SECRET, Caller('gateway', role), datetime.now(UTC))}"


def record(event: CloudEvent, event_id: UUID | None = None) -> Record:
    sent = message(event, "budget.events", event_id or new_id())
    return Record(sent.topic, 0, secrets.randbelow(10**6), 0, sent.key, sent.value, sent.headers)
