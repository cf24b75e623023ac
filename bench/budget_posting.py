"""How fast one budget process posts, and how long a gateway waits for a lease.

    uv run python bench/budget_posting.py [--records 100000] [--grants 2000]

On an Apache Kafka and a PostgreSQL of its own (or FAREBOX_KAFKA_BOOTSTRAP and FAREBOX_POSTGRES_DSN):

* posting: `usage.priced` of 300 users under one hard org budget and soft user budgets, through the service's own
  subscriber, beside a bare getmany + insert of the entry ids.
* grants: asked one after the other, then by three gateways at once on one hot org budget; every grant is a transaction.
"""

import argparse
import asyncio
import statistics
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import uvloop
from aiokafka import AIOKafkaConsumer
from farebox.leasing import Attributes, GrantRequest, Need, StartRequest
from servers import servers

from budget.administration import Office
from budget.app import SCHEMA
from budget.posting.handlers import UsageHandler
from budget.routes import routes
from budget.shares.operations import Leases
from budget.store import Store
from farebox import topics
from farebox.auth import Caller, Role, key_hash, sign
from farebox.clock import SystemClock
from farebox.events import Envelope, LeaseUse, Principal, UsagePriced
from farebox.http import api
from farebox.ids import new_id
from farebox.kafka import Delivery, Message, Offsets, Producer, Record, Rejected, make_broker, subscribe
from farebox.postgres import Pool, migrate, open_pool, transaction
from farebox_local.databases import create_database, create_role, create_schema, role_of
from farebox_local.postgres import GivenPostgres

SECRET = "of-the-benchmark-of-the-benchmark"  # noqa: S105 - of a process that lives for a minute
USERS = 300
BATCH = 2_000
COST_NANO = 255_000


def nothing() -> None:
    """No relay to wake."""


async def database(server: GivenPostgres) -> str:
    name, role = f"bench_{uuid.uuid4().hex[:12]}", role_of("budget")
    await create_role(server.dsn(), role, "budget", SECRET)
    await create_database(server.dsn(), name)
    await create_schema(server.dsn(name), "budget", role)
    dsn = server.dsn(name, role, SECRET)
    await migrate(dsn, schema=SCHEMA, package="budget")
    return dsn


async def company(store: Store, leases: Leases) -> str:
    """An org with a hard budget, its users with soft ones; the API key of the first user."""
    app = api(routes(Office(store, SystemClock(), nothing), leases), secret=SECRET)
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


# Posting


async def lay(kafka: str, count: int) -> None:
    now = datetime.now(UTC)
    async with Producer(kafka, client_id="bench") as producer:
        for start in range(0, count, 10_000):
            entries = [_entry(number, now) for number in range(start, min(count, start + 10_000))]
            envelopes = [Envelope(e.entry_id, "farebox/metering", now, e.principal.subject(), e) for e in entries]
            topic = topics.USAGE_PRICED.name
            await producer.send([Message.carrying(e, topic=topic, key=e.subject) for e in envelopes], 60)


def _entry(number: int, now: datetime) -> UsagePriced:
    entry_id, user = new_id(), f"user-{number % USERS}"
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
        lease=LeaseUse(lease_id=entry_id, reserve_nano=COST_NANO),
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


async def drain_budget(kafka: str, pool: Pool, count: int) -> float:
    """Events a second of the service's own subscriber and handler."""
    left, started = count, 0.0
    done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    group = f"budget-{uuid.uuid4().hex}"
    offsets = Offsets(pool, group)
    handler = UsageHandler(Store(pool), SystemClock(), nothing, offsets)

    async def timed(records: Sequence[Record]) -> Sequence[Rejected]:
        nonlocal left, started
        started = started or time.perf_counter()
        rejected = await handler(records)
        assert not rejected, rejected[0]
        left -= len(records)
        if not left:
            done.set_result(count / (time.perf_counter() - started))
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
    await topics.create(kafka, replication=1)
    await lay(kafka, count)
    bare_pool = await open_pool(await database(server), schema=SCHEMA, size=2)
    pool = await open_pool(await database(server), schema=SCHEMA, size=8)
    store = Store(pool)
    await company(store, Leases(store, SystemClock(), nothing))
    bare = await drain_bare(kafka, bare_pool, count)
    ours = await drain_budget(kafka, pool, count)
    async with transaction(pool) as connection:
        posted = await connection.fetchval("SELECT posted FROM budget_window ORDER BY limit_amount DESC LIMIT 1")
    assert posted == count * COST_NANO, f"posted {posted} for {count} entries"
    await bare_pool.close()
    await pool.close()
    print(f"{'bare getmany + insert of ids':44} {bare:>9,.0f} events/s")
    print(f"{'budget: windows, leases, marks, outbox':44} {ours:>9,.0f} events/s   ratio {ours / bare:.2f}")


# Grants


async def grants(server: GivenPostgres, count: int) -> None:
    pool = await open_pool(await database(server), schema=SCHEMA, size=8)
    store = Store(pool)
    leases = Leases(store, SystemClock(), nothing)
    hashed = key_hash(await company(store, leases))
    gateways = [f"gw-{number}" for number in range(3)]
    for gateway in gateways:
        await leases.start(StartRequest(gateway_id=gateway, last_epoch=0))
    waits: list[float] = []

    async def ask(gateway: str, times: int) -> None:
        need = Need(cost_nano_usd=COST_NANO, requests=1, tokens=800)
        for _ in range(times):
            started = time.perf_counter()
            answer = await leases.grant(
                GrantRequest(
                    gateway_id=gateway,
                    epoch=1,
                    lease_id=new_id(),
                    key_hash=hashed,
                    attributes=Attributes(),
                    least=need,
                    need=need,
                    want=need,
                )
            )
            assert answer.lease
            waits.append(time.perf_counter() - started)

    await ask(gateways[0], count)
    marks = statistics.quantiles(waits, n=100)
    print(f"{'a grant, one at a time':44} p50 {marks[49] * 1e3:.2f} ms, p99 {marks[98] * 1e3:.2f} ms")
    waits.clear()
    started = time.perf_counter()
    await asyncio.gather(*(ask(gateway, count // 3) for gateway in gateways for _ in range(2)))
    rate = len(waits) / (time.perf_counter() - started)
    marks = statistics.quantiles(waits, n=100)
    print(
        f"{'one hot budget, 3 gateways, 2 at once each':44} {rate:>9,.0f} grants/s, "
        f"p50 {marks[49] * 1e3:.2f} ms, p99 {marks[98] * 1e3:.2f} ms"
    )
    await pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--grants", type=int, default=1_500)
    arguments = parser.parse_args()
    with servers() as (kafka, server):
        uvloop.run(posting(kafka, server, arguments.records))
        uvloop.run(grants(server, arguments.grants))


if __name__ == "__main__":
    main()
