"""How fast one metering process drains `request.completed`, beside a bare getmany + insert loop.

    uv run python bench/metering_drain.py [--records 200000] [--runs 3]

Starts an Apache Kafka and a PostgreSQL of its own (or takes FAREBOX_KAFKA_BOOTSTRAP and FAREBOX_POSTGRES_DSN), lays the
records into twelve partitions, and lets one process at a time drain them into a fresh database:

* bare: aiokafka `getmany`, `orjson.loads`, one `INSERT … SELECT FROM unnest` of the ledger's columns, commit. It prices
  nothing, checks nothing, rolls nothing up and tells nobody.
* metering: the service as `python -m metering` runs it: ledger, rollups and outbox, and the relay publishing.

Both are timed from their first batch to the commit of their last; figures are the median of the runs, and the ratio is
of runs beside each other. Rows are counted afterwards: a drain that loses or doubles one fails.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from farebox import topics
from farebox.events import BillingTerms, Envelope, LeaseUse, Principal, RequestCompleted
from farebox.ids import new_id
from farebox.kafka import Message, Producer, Record, Rejected
from farebox.outbox import backlog
from farebox.postgres import migrate, open_pool, transaction
from farebox.pricing import Usage
from farebox.process import settle_memory
from farebox_local.databases import create_database, create_role, create_schema, drop_database, role_of
from farebox_local.kafka import Kafka
from farebox_local.postgres import GivenPostgres, Postgres
from metering import app
from metering.handlers import Handlers
from metering.settings import Settings

PARTITIONS = 12
BATCH = 2_000
PASSWORD = "of-the-benchmark"  # noqa: S105 - of a database that lives for a minute
SEED = 20_261_121


@dataclass(frozen=True)
class Place:
    """Where a drain happens."""

    kafka: str
    dsn: str
    topic: str
    records: int


# The records: an hour's traffic of six organisations


def attempts(count: int, chance: random.Random) -> list[RequestCompleted]:
    """Calls of 3,000 users in 24 teams of 6 organisations; few users make most of the calls."""
    terms = [
        BillingTerms(currency=currency, fx_rate=Decimal(rate), fx_source="org", fx_date=date(2026, 1, 1))
        for currency, rate in (("USD", "1"), ("VND", "24167"), ("KRW", "1300"))
    ]
    users = [
        Principal(org=f"org-{n % 6}", team=f"team-{n % 24}", user=f"user-{n}", key=f"key-{n}") for n in range(3_000)
    ]
    models = [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("deepseek", "deepseek-chat"),
    ]
    weights = [1 / (n + 10) for n in range(len(users))]
    now = datetime.now(UTC)
    return [
        _attempt(chance, who, models[min(int(chance.expovariate(0.9)), 3)], terms, now)
        for who in chance.choices(users, weights, k=count)
    ]


def _attempt(
    chance: random.Random, who: Principal, model: tuple[str, str], terms: Sequence[BillingTerms], now: datetime
) -> RequestCompleted:
    started_at = now - timedelta(seconds=chance.uniform(0, 3_600))
    latency_ms = chance.randint(200, 9_000)
    return RequestCompleted(
        attempt_id=new_id(),
        request_id=new_id(),
        started_at=started_at,
        completed_at=started_at + timedelta(milliseconds=latency_ms),
        principal=who,
        session=f"{who.user}-chat-{chance.randint(0, 2)}",
        feature=chance.choice(("qa_chat", "match_explanation", "search")),
        api="openai.chat",
        provider=model[0],
        requested_model=model[1],
        served_model=model[1],
        usage=Usage(
            input=chance.randint(20, 6_000), output=chance.randint(1, 1_500), cache_read=chance.randint(0, 2_000)
        ),
        billing=terms[int(who.org[-1]) % 3],
        lease=LeaseUse(lease_id=new_id(), reserve_nano=10**9),
        streamed=True,
        latency_ms=latency_ms,
        ttft_ms=latency_ms // 4,
        complexity=chance.choice(("simple", "medium", "complex")),
    )


async def lay(kafka: str, topic: str, count: int) -> None:
    """Publish the records, in pieces."""
    chance = random.Random(SEED)  # noqa: S311 - draws test data
    async with Producer(kafka, client_id="bench") as producer:
        for start in range(0, count, 10_000):
            events = attempts(min(10_000, count - start), chance)
            envelopes = [
                Envelope(e.attempt_id, "farebox/gateway/bench", e.completed_at, e.principal.subject(), e)
                for e in events
            ]
            await producer.send([Message.carrying(e, topic=topic, key=e.subject) for e in envelopes], 60)


INSERT = """
INSERT INTO entry (
    entry_id, made_at, attempt_id, request_id, occurred_at, priced_at, amount_nano, cost_nano_usd, dimension_id,
    terms_id, tariff_id, session, attempt_number, outcome, cache_hit, complexity, input_tokens, output_tokens, attempt
)
SELECT
    entry_id, uuid_extract_timestamp(entry_id), entry_id, request_id, occurred_at, $1, amount_nano, cost_nano_usd,
    dimension_id, terms_id, tariff_id, session, attempt_number, outcome, cache_hit, complexity, input_tokens,
    output_tokens, attempt
FROM unnest(
    $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::uuid[], $8::uuid[], $9::uuid[],
    $10::text[], $11::int[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::text[]
) AS e (
    entry_id, request_id, occurred_at, amount_nano, cost_nano_usd, dimension_id, terms_id, tariff_id, session,
    attempt_number, outcome, cache_hit, complexity, input_tokens, output_tokens, attempt
)
ON CONFLICT DO NOTHING
RETURNING entry_id
"""


# The two drains, each in a process of its own


async def drain_bare(place: Place) -> dict[str, float]:
    """The loop that does the least: its speed is what the machine allows."""
    pool = await open_pool(place.dsn, schema="metering", size=2)
    left, started, cpu = place.records, 0.0, 0.0
    async with AIOKafkaConsumer(
        place.topic,
        bootstrap_servers=place.kafka,
        group_id=f"bare-{place.topic}-{uuid.uuid4().hex}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * 1024 * 1024,
    ) as consumer:
        while left:
            polled = await consumer.getmany(timeout_ms=200, max_records=BATCH)
            records = [record for some in polled.values() for record in some]
            if not started:
                started, cpu = perf_counter(), process_time()
            if records:
                async with transaction(pool) as connection:
                    await connection.fetch(INSERT, datetime.now(UTC), *_columns([record.value for record in records]))
                await consumer.commit()
                left -= len(records)
        seconds, cpu_seconds = perf_counter() - started, process_time() - cpu
    await pool.close()
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def _columns(values: Sequence[bytes]) -> Sequence[Sequence[Any]]:
    """The same columns as the service's, without a check or a price."""
    events = [orjson.loads(value) for value in values]
    nil = uuid.UUID(int=0)
    return (
        [event["attempt_id"] for event in events],
        [event["request_id"] for event in events],
        [datetime.fromisoformat(event["started_at"]) for event in events],
        [event["latency_ms"] for event in events],
        [event["latency_ms"] for event in events],
        *[[nil for _ in events] for _ in range(3)],
        [event["session"] for event in events],
        [event["attempt"] for event in events],
        [event["outcome"] for event in events],
        [event["cache_hit"] for event in events],
        [event["complexity"] for event in events],
        [event["usage"]["input"] for event in events],
        [event["usage"]["output"] for event in events],
        [value.decode() for value in values],
    )


async def drain_service(place: Place) -> dict[str, float]:
    """A replica as the process runs it; the clock runs from its first batch to the end of its last."""
    left, started, cpu = place.records, 0.0, 0.0
    figures: dict[str, float] = {}
    done = asyncio.Event()
    handle = Handlers.on_requests

    async def timed(self: Handlers, records: Sequence[Record]) -> Sequence[Rejected]:
        nonlocal left, started, cpu
        if not started:
            started, cpu = perf_counter(), process_time()
        rejected = await handle(self, records)
        left -= len(records)
        if not left:
            figures.update(seconds=perf_counter() - started, cpu_seconds=process_time() - cpu)
            done.set()
        return rejected

    Handlers.on_requests = timed  # type: ignore[method-assign]  # a stopwatch around the service's own handler
    settings = Settings(
        port=0,
        ops_port=0,
        kafka_bootstrap=place.kafka,
        service_secret=SecretStr("s" * 32),
        postgres_dsn=SecretStr(place.dsn),
        batch_records_max=BATCH,
    )
    mark = uuid.uuid4().hex[:8]
    names = app.Names(requests=place.topic, group=f"metering-{mark}")
    settle_memory()
    pool = await open_pool(place.dsn, schema="metering", size=2)
    async with app.metering(settings, names):
        await done.wait()
        while (await backlog(pool)).depth:  # noqa: ASYNC110 - another task empties it, in the database
            await asyncio.sleep(0.01)
        figures["relayed_seconds"] = perf_counter() - started
    await pool.close()
    return figures


DRAINS = {"bare": drain_bare, "metering": drain_service}


# The runs


@contextmanager
def servers() -> Iterator[tuple[str, GivenPostgres]]:
    """A broker and a database server; of their own unless the environment names running ones."""
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as folder, ExitStack() as running:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        bootstrap, dsn = os.environ.get("FAREBOX_KAFKA_BOOTSTRAP"), os.environ.get("FAREBOX_POSTGRES_DSN")
        if not bootstrap:
            broker = Kafka(Path(folder))
            broker.start()
            running.callback(broker.stop)
            bootstrap = broker.bootstrap
        server = GivenPostgres(dsn) if dsn else Postgres(Path(folder))
        if isinstance(server, Postgres):
            server.start()
            running.callback(server.stop)
        yield bootstrap, server


async def prepare(kafka: str, topic: str, count: int) -> None:
    """Every topic of the deployment, and the records on one of the run's own."""
    await topics.create(kafka, replication=1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, n, 1) for name, n in ((topic, PARTITIONS), (f"{topic}.dead", 1))])
    await admin.close()
    await lay(kafka, topic, count)


async def fresh_database(server: GivenPostgres) -> str:
    """The DSN, as metering's role, of a new and migrated database."""
    name, role = f"bench_{uuid.uuid4().hex[:12]}", role_of("metering")
    await create_role(server.dsn(), role, "metering", PASSWORD)
    await create_database(server.dsn(), name)
    await create_schema(server.dsn(name), "metering", role)
    dsn = server.dsn(name, role, PASSWORD)
    await migrate(dsn, schema="metering", package="metering")
    connection = await asyncpg.connect(dsn)
    for months in range(2):
        await connection.execute("SELECT entry_add_month(now() - make_interval(months => $1))", months)
    await connection.close()
    return dsn


async def drained(kafka: str, server: GivenPostgres, topic: str, kind: str, count: int) -> dict[str, float]:
    """One drain in a process and a database of its own; its figures, once its rows are counted."""
    dsn = await fresh_database(server)
    place = Place(kafka, dsn, topic, count)
    command = (sys.executable, __file__, "--drain", kind, json.dumps(asdict(place)))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=None)
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the {kind} drain failed:\n{out.decode()[-2_000:]}")
    await check(dsn, kind, count)
    await drop_database(server.dsn(), dsn.rpartition("/")[2])
    figures: dict[str, float] = json.loads(out.splitlines()[-1])
    return figures


async def check(dsn: str, kind: str, count: int) -> None:
    """Every record once in the ledger; and in the rollups, whose sums are the ledger's."""
    connection = await asyncpg.connect(dsn)
    try:
        booked = await connection.fetchrow("SELECT count(*), sum(cost_nano_usd) FROM entry")
        assert booked is not None
        assert booked[0] == count, f"{booked[0]} entries for {count} records"
        if kind == "metering":
            for table in ("usage_hour", "usage_day"):
                rolled = await connection.fetchrow(f"SELECT sum(attempts), sum(cost_nano_usd) FROM {table}")  # noqa: S608
                assert tuple(rolled or ()) == tuple(booked), f"{table}: {rolled} for {booked}"
    finally:
        await connection.close()


async def bench(count: int, runs: int) -> None:
    with servers() as (kafka, server):
        topic = f"bench.{uuid.uuid4().hex[:8]}"
        print(f"laying {count:,} records (seed {SEED}) into {PARTITIONS} partitions …", flush=True)
        await prepare(kafka, topic, count)
        bare, ours = [], []
        for run in range(1, runs + 1):
            bare.append(await drained(kafka, server, topic, "bare", count))
            ours.append(await drained(kafka, server, topic, "metering", count))
            rates = [count / figures["seconds"] for figures in (bare[-1], ours[-1])]
            print(f"run {run}: bare {rates[0]:,.0f}/s, metering {rates[1]:,.0f}/s", flush=True)
    print(f"\nmedian of {runs}, {count:,} records, batches of {BATCH:,}, {os.cpu_count()} cores for everything")
    report("bare getmany + insert", bare, "seconds", count)
    report("metering: ledger, rollups, outbox", ours, "seconds", count)
    report("metering, until all is on usage.priced", ours, "relayed_seconds", count)
    ratio = statistics.median(b["seconds"] / o["seconds"] for b, o in zip(bare, ours, strict=True))
    print(f"{'ratio':40} {ratio:>9.2f}  (goal 0.45)")


def report(name: str, runs: Sequence[dict[str, float]], seconds: str, count: int) -> None:
    """One line: events a second, and what the process's own core spent on each."""
    rate = statistics.median(count / figures[seconds] for figures in runs)
    cpu_us = statistics.median(figures["cpu_seconds"] / count * 1e6 for figures in runs)
    print(f"{name:40} {rate:>9,.0f} events/s  {cpu_us:>5.1f} µs of Python each")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--drain", nargs=2, metavar=("KIND", "PLACE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drain:
        kind, place = arguments.drain
        print(json.dumps(uvloop.run(DRAINS[kind](Place(**json.loads(place))))))
    else:
        asyncio.run(bench(arguments.records, arguments.runs))


if __name__ == "__main__":
    main()
