"""Metering put together: the only module that knows all others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from farebox import durability, http, postgres, topics
from farebox.clock import Clock, SystemClock
from farebox.compacted import CompactedTopic, by_revision
from farebox.events import SuspenseReason
from farebox.http import health_routes, ops
from farebox.invariants import watched
from farebox.kafka import Delivery, Offsets, Producer, Watched, alive, make_broker, subscribe, unready
from farebox.outbox import OutboxRelay
from farebox.postgres import Pool
from farebox.process import serve, settle_memory
from farebox.recurring import Recurring
from metering import metrics
from metering.books_clock import BooksClock
from metering.corrections.operations import Corrections
from metering.corrections.routes import correction_routes
from metering.handlers import Handlers
from metering.invariants import QUERIES
from metering.posting import Posting
from metering.prices import Prices, promise_every
from metering.routes import routes
from metering.settings import Settings
from metering.store import Store

SCHEMA: Final = "metering"
MONTHS_AHEAD: Final = timedelta(days=62)
PARTITIONS_EVERY_S: Final = 86_400.0
PRICES_EVERY_S: Final = 60.0
SETTLE_EVERY_S: Final = 300.0
SUSPENSE_EVERY_S: Final = 10.0
TIME_EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Names:
    """Topics and group; tests have their own on a shared broker."""

    requests: str = topics.REQUEST_COMPLETED.name
    priced: str = topics.USAGE_PRICED.name
    prices: str = topics.PRICE_CATALOGUE.name
    group: str = "metering"


NAMES: Final = Names()
CLOCK: Final = SystemClock()


class Metering:
    """The parts of one replica, and how they are."""

    def __init__(
        self,
        pool: Pool,
        store: Store,
        prices: Prices,
        posting: Posting,
        corrections: Corrections,
        clock: Clock,
        listed: CompactedTopic,
        watched: list[Watched],
    ) -> None:
        self._pool = pool
        self.clock = clock
        self.listed = listed
        self.store = store
        self.prices = prices
        self.posting = posting
        self.corrections = corrections
        self._watched = watched

    def live(self) -> list[str]:
        """What only a restart can mend."""
        return alive(*self._watched)

    async def ready(self) -> list[str]:
        """What is missing before work can be done."""
        return [*unready(*self._watched), *await postgres.ping(self._pool)]


async def migrate(settings: Settings) -> list[str]:
    """Bring the schema up to date."""
    return await postgres.migrate(settings.postgres_dsn.get_secret_value(), schema=SCHEMA, package="metering")


async def run(settings: Settings) -> None:
    """Serve until SIGTERM."""
    settle_memory()
    async with metering(settings) as service:
        health = health_routes(live=service.live, ready=service.ready)
        secret = settings.service_secret.get_secret_value()
        asked = routes(service.store, service.prices, service.clock)
        api = http.api([*health, *asked, *correction_routes(service.corrections)], secret=secret)
        await serve(settings, api=api, ops=ops(health))


@asynccontextmanager
async def metering(settings: Settings, names: Names = NAMES, clock: Clock = CLOCK) -> AsyncIterator[Metering]:
    """A replica at work. Neither Kafka nor PostgreSQL needs to be there yet."""
    pool = await postgres.open_pool(
        settings.postgres_dsn.get_secret_value(), schema=SCHEMA, size=settings.postgres_pool
    )
    client = f"metering-{settings.instance}"
    producer = Producer(settings.kafka_bootstrap, client_id=client)
    relay = OutboxRelay(pool, producer, schema=SCHEMA)
    store = Store(pool)
    books = BooksClock(store, clock)
    lead = timedelta(seconds=settings.price_lead_s)
    prices = Prices(store, books, topic=names.prices, lead=lead)
    posting = Posting(store, prices, relay, books, topic=names.priced)
    corrections = Corrections(store, prices, relay, books, topic=names.priced)
    retention = timedelta(days=settings.retention_days)

    async def add_months() -> None:
        await books.known()
        await store.add_months(books.now() - retention, books.now() + MONTHS_AHEAD)

    async def count_suspense() -> None:
        attempts = await store.suspense_open()
        for reason in SuspenseReason:
            metrics.SUSPENSE_OPEN.labels(reason.value).set(attempts.get(reason.value, 0))
        metrics.UNKNOWN_MODELS.set(len(await prices.unknown_models()))

    months = Recurring("ledger partitions", add_months, every_s=PARTITIONS_EVERY_S)
    reread = Recurring("prices", prices.refresh, every_s=PRICES_EVERY_S)
    settle = Recurring("settlement", posting.settle, every_s=SETTLE_EVERY_S)
    prices.on_change(settle.wake)
    suspense = Recurring("suspense gauge", count_suspense, every_s=SUSPENSE_EVERY_S)
    invariants = watched(pool, QUERIES, metrics.INVARIANT_VIOLATIONS, books)

    async def promise() -> None:
        if await prices.promise():
            relay.wake()

    promises = Recurring("age of the catalogue", promise, every_s=promise_every(lead).total_seconds())
    offsets = Offsets(pool, names.group)
    durable = durability.watched(pool, schema=SCHEMA)
    handlers = Handlers(posting, reread, books, offsets, retention=retention, lead=lead)
    broker = make_broker(settings.kafka_bootstrap, client_id=client)
    for _ in range(settings.consumers):
        subscribe(
            broker,
            names.requests,
            group_id=names.group,
            handle=handlers.on_requests,
            producer=producer,
            delivery=Delivery(batch_records_max=settings.batch_records_max),
            offsets=offsets,
        )
    listed = CompactedTopic(
        names.prices,
        prices,
        by_revision,
        pool=pool,
        bootstrap=settings.kafka_bootstrap,
        client_id=client,
        wake=relay.wake,
        heard=handlers.on_prices,
    )
    time = Recurring("time", books.set, every_s=TIME_EVERY_S)
    recurring = [time, months, reread, settle, suspense, promises, invariants, durable]
    try:
        async with (
            producer,
            relay,
            listed,
            time,
            months,
            reread,
            settle,
            suspense,
            promises,
            invariants,
            durable,
            broker,
        ):
            await broker.start()
            parts: list[Watched] = [producer, relay, broker, listed, *recurring]
            yield Metering(pool, store, prices, posting, corrections, books, listed, parts)
    finally:
        await pool.close()
