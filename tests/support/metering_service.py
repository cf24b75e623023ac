"""Metering on a database alone: attempts posted and API questions answered without Kafka."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import httpx

from farebox import http
from farebox.auth import Caller, Role, sign
from farebox.clock import SystemClock
from farebox.events import RequestCompleted, value_of
from farebox.kafka import Producer
from farebox.outbox import OutboxRelay
from farebox.postgres import Pool, open_pool
from metering.attempt import Attempt
from metering.booking import Fresh
from metering.posting import Posting
from metering.prices import Prices
from metering.routes import routes
from metering.store import Store

SECRET = "s" * 32
LEAD = timedelta(minutes=15)
ADMIN = Caller("gateway", Role.PLATFORM_ADMIN)


@dataclass
class MeteringService:
    """The parts of a replica that need no Kafka. What it would publish stays in the outbox."""

    pool: Pool
    store: Store
    prices: Prices
    posting: Posting

    async def post(self, *events: RequestCompleted) -> Fresh:
        """Post attempts as one batch."""
        return await self.posting.post([[Attempt(event, value_of(event).decode()) for event in events]])

    def api(self, who: Caller = ADMIN) -> httpx.AsyncClient:
        """A client of the API, signed in."""
        return api_client(self.store, self.prices, who)

    async def get(self, path: str, who: Caller = ADMIN, **parameters: str) -> httpx.Response:
        async with self.api(who) as api:
            return await api.get(path, params=parameters)

    async def summary(self, who: Caller = ADMIN, **parameters: str) -> dict[str, Any]:
        answer = await self.get("/api/usage/summary", who, **parameters)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def fetch(self, sql: str, *parameters: Any) -> list[asyncpg.Record]:
        return await self.pool.fetch(sql, *parameters)


def api_client(store: Store, prices: Prices, who: Caller) -> httpx.AsyncClient:
    """A client of a replica's API in this process."""
    clock = SystemClock()
    app = http.api(routes(store, prices, clock), secret=SECRET)
    headers = {"authorization": f"Bearer {sign(SECRET, who, clock.now())}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://metering", headers=headers)


@asynccontextmanager
async def open_metering_service(dsn: str) -> AsyncIterator[MeteringService]:
    """On metering's database."""
    pool = await open_pool(dsn, schema="metering", size=4)
    clock, store = SystemClock(), Store(pool)
    prices = Prices(store, clock, topic="price.catalogue", lead=LEAD)
    relay = OutboxRelay(pool, Producer("never:1", client_id="never"), schema="metering")
    yield MeteringService(pool, store, prices, Posting(store, prices, relay, clock, topic="usage.priced"))
    await pool.close()
