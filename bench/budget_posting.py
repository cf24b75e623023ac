"""How fast one budget process posts.

    uv run python bench/budget_posting.py [--records 100000]

On an Apache Kafka and a PostgreSQL of its own (or FAREBOX_KAFKA_BOOTSTRAP and FAREBOX_POSTGRES_DSN): `usage.priced` of
300 users under one hard org budget and soft user budgets, calls held by three gateways, through the service's own
subscriber, beside a bare getmany + insert of the entry ids.
"""

import argparse
import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import uvloop
from aiokafka import AIOKafkaConsumer
from budget_service import USERS, company, database, nothing
from servers import servers

from budget.app import SCHEMA
from budget.posting.handlers import UsageHandler
from budget.store import Store
from farebox import topics
from farebox.clock import SystemClock
from farebox.events import CallAttributes, Envelope, Held, HeldWindow, Measured, Principal, UsagePriced
from farebox.ids import new_id
from farebox.kafka import Delivery, Message, Offsets, Producer, Record, Rejected, make_broker, subscribe
from farebox.postgres import Pool, open_pool, transaction
from farebox.process import settle_memory
from farebox_local.postgres import GivenPostgres

BATCH = 2_000
COST_NANO = 255_000


async def lay(kafka: str, count: int, org_budget: UUID) -> None:
    now = datetime.now(UTC)
    async with Producer(kafka, client_id="bench") as producer:
        for start in range(0, count, 10_000):
            entries = [_entry(number, now, org_budget) for number in range(start, min(count, start + 10_000))]
            envelopes = [Envelope(e.entry_id, "farebox/metering", now, e.principal.subject(), e) for e in entries]
            topic = topics.USAGE_PRICED.name
            await producer.send([Message.carrying(e, topic=topic, key=e.subject) for e in envelopes], 60)


def _entry(number: int, now: datetime, org_budget: UUID) -> UsagePriced:
    entry_id, user = new_id(), f"user-{number % USERS}"
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    held = Held(
        gateway=f"gw-{number % 3}",
        epoch=1,
        windows=(HeldWindow(budget_id=org_budget, start=month),),
        settled=Measured(money=COST_NANO, requests=1, tokens=800),
        attributes=CallAttributes(upstream="openai", provider="openai", model="gpt-4o-mini"),
    )
    return UsagePriced(
        entry_id=entry_id,
        attempt_id=entry_id,
        request_id=new_id(),
        occurred_at=now,
        priced_at=now,
        principal=Principal(org="org", user=user, key=f"key-{user}"),
        provider="openai",
        model="gpt-4o-mini",
        cost_nano_usd=COST_NANO,
        billed_nano=COST_NANO,
        currency="USD",
        price_version="bench",
        tokens=800,
        usage_source="reported",
        held=held,
    )


async def drain_bare(kafka: str, pool: Pool, count: int) -> float:
    """Events a second of the loop that does the least."""
    left, started = count, 0.0
    async with AIOKafkaConsumer(
        topics.USAGE_PRICED.name,
        bootstrap_servers=kafka,
        group_id=f"bare-{uuid.uuid4().hex}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * 1024 * 1024,
    ) as consumer:
        while left:
            polled = await consumer.getmany(timeout_ms=200, max_records=BATCH)
            ids = [dict(record.headers)["ce_id"].decode() for some in polled.values() for record in some]
            started = started or time.perf_counter()
            async with transaction(pool) as connection:
                await connection.execute("INSERT INTO posting SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING", ids)
            await consumer.commit()
            left -= len(ids)
        return count / (time.perf_counter() - started)


async def drain_budget(kafka: str, pool: Pool, count: int) -> tuple[float, float]:
    """Events a second of the service's own subscriber and handler, and the processor time of one in µs."""
    left, started, worked = count, 0.0, 0.0
    done: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()
    group = f"budget-{uuid.uuid4().hex}"
    offsets = Offsets(pool, group)
    handler = UsageHandler(Store(pool), SystemClock(), nothing, offsets)
    settle_memory()

    async def timed(records: Sequence[Record]) -> Sequence[Rejected]:
        nonlocal left, started, worked
        started, worked = started or time.perf_counter(), worked or time.process_time()
        rejected = await handler(records)
        assert not rejected, rejected[0]
        left -= len(records)
        if not left:
            cpu_us = (time.process_time() - worked) / count * 1e6
            done.set_result((count / (time.perf_counter() - started), cpu_us))
        return rejected

    async with Producer(kafka, client_id="bench") as producer:
        broker = make_broker(kafka, client_id="bench")
        delivery = Delivery(batch_records_max=BATCH)
        subscribe(
            broker,
            topics.USAGE_PRICED.name,
            group_id=group,
            handle=timed,
            producer=producer,
            delivery=delivery,
            offsets=offsets,
        )
        async with broker:
            await broker.start()
            return await done


async def posting(kafka: str, server: GivenPostgres, count: int) -> None:
    bare_pool = await open_pool(await database(server), schema=SCHEMA, size=2)
    pool = await open_pool(await database(server), schema=SCHEMA, size=8)
    store = Store(pool)
    await company(store)
    async with transaction(pool) as connection:
        org_budget = await connection.fetchval("SELECT budget_id FROM budget WHERE mode = 'hard'")
    await topics.create(kafka, replication=1)
    await lay(kafka, count, org_budget)
    bare = await drain_bare(kafka, bare_pool, count)
    ours, cpu_us = await drain_budget(kafka, pool, count)
    async with transaction(pool) as connection:
        posted = await connection.fetchval("SELECT posted FROM budget_window ORDER BY limit_amount DESC LIMIT 1")
    assert posted == count * COST_NANO, f"posted {posted} for {count} entries"
    await bare_pool.close()
    await pool.close()
    print(f"{'bare getmany + insert of ids':44} {bare:>9,.0f} events/s")
    print(f"{'budget: windows, shares, marks, outbox':44} {ours:>9,.0f} events/s   ratio {ours / bare:.2f}")
    print(f"{'  processor time of its process':44} {cpu_us:>9.1f} µs an event")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    arguments = parser.parse_args()
    with servers() as (kafka, server):
        uvloop.run(posting(kafka, server, arguments.records))


if __name__ == "__main__":
    main()
