"""Composition root: the only module that knows all the others."""

from contextlib import AsyncExitStack
from datetime import timedelta

from budget import metrics
from budget.administration import Administration
from budget.posting.handlers import UsageHandler
from budget.posting.uncertain import free_uncertain
from budget.published import Balances, PolicyNews, by_window
from budget.routes import routes
from budget.settings import BudgetSettings
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.shares.silence import LOOK_EVERY_S
from budget.store import QUERIES, Store
from farebox import durability, topics
from farebox.clock import SystemClock
from farebox.compacted import CompactedTopic, by_revision
from farebox.http import api, health_routes, ops
from farebox.invariants import watched
from farebox.kafka import Offsets, Producer, alive, make_broker, subscribe, unready
from farebox.outbox import OutboxRelay
from farebox.postgres import migrate as migrate_schema
from farebox.postgres import open_pool, ping
from farebox.process import serve, settle_memory
from farebox.recurring import Recurring

SCHEMA = "budget"
GROUP = "budget"
FORGET_EVERY_S = 3_600.0
FREE_EVERY_S = 30.0
SILENT_S = 300.0
"""A gateway without an answered beat for so long admits nothing under hard budgets (`gateway.budget_link`)."""


async def migrate(settings: BudgetSettings) -> list[str]:
    return await migrate_schema(settings.postgres_dsn.get_secret_value(), schema=SCHEMA, package="budget")


async def run(settings: BudgetSettings) -> None:
    """Until SIGTERM: consume, answer, relay. Alive without Kafka and PostgreSQL, ready with both."""
    settle_memory()
    clock = SystemClock()
    pool = await open_pool(settings.postgres_dsn.get_secret_value(), schema=SCHEMA, size=settings.postgres_pool)
    producer = Producer(settings.kafka_bootstrap, client_id=f"budget-{settings.instance}")
    broker = make_broker(settings.kafka_bootstrap, client_id=f"budget-{settings.instance}")
    relay = OutboxRelay(pool, producer, schema=SCHEMA)
    store = Store(pool)
    release_after_s = SILENT_S + settings.longest_call_s
    shares = Shares(store, clock, relay.wake, release_after_s=release_after_s)
    raises = Raises(store, clock, relay.wake)
    lost_after = timedelta(seconds=settings.gateway_lost_after_s)
    lost = Recurring("lost_gateways", lambda: shares.suspend_lost(lost_after), every_s=LOOK_EVERY_S)
    freed = Recurring("uncertain_freed", lambda: free_uncertain(store, clock), every_s=FREE_EVERY_S)
    forgotten = Recurring("forgotten", shares.forget, every_s=FORGET_EVERY_S)
    invariants = watched(pool, QUERIES, metrics.INVARIANT_VIOLATIONS, clock)
    durable = durability.watched(pool, schema=SCHEMA)
    offsets = Offsets(pool, GROUP)
    handler = UsageHandler(store, clock, relay.wake, offsets)
    subscribe(broker, topics.USAGE_PRICED.name, group_id=GROUP, handle=handler, producer=producer, offsets=offsets)

    kept = [
        CompactedTopic(
            topic.name,
            owner,
            order_of,
            pool=pool,
            bootstrap=settings.kafka_bootstrap,
            client_id=f"budget-{settings.instance}",
            wake=relay.wake,
        )
        for topic, owner, order_of in (
            (topics.ACCOUNT_POLICY, PolicyNews(store, clock), by_revision),
            (topics.BUDGET_BALANCES, Balances(store, clock), by_window),
        )
    ]

    def live() -> list[str]:
        return alive(producer, broker, relay, lost, freed, forgotten, invariants, durable, *kept)

    async def ready() -> list[str]:
        return unready(producer, broker) + await ping(pool)

    health = health_routes(live=live, ready=ready)
    administration = Administration(store, clock, relay.wake)
    served = [*health, *routes(administration, shares, raises)]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        await stack.enter_async_context(producer)
        await stack.enter_async_context(relay)
        await stack.enter_async_context(lost)
        await stack.enter_async_context(freed)
        await stack.enter_async_context(forgotten)
        await stack.enter_async_context(invariants)
        await stack.enter_async_context(durable)
        for each in kept:
            await stack.enter_async_context(each)
        await stack.enter_async_context(broker)
        await broker.start()
        await serve(settings, api=api(served, secret=settings.service_secret.get_secret_value()), ops=ops(health))
