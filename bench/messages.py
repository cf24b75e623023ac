"""What a message costs on its way: produced, consumed, and through the outbox. `python bench/messages.py`

Starts a Kafka and a PostgreSQL of its own. CPU is this process's, in microseconds a message; servers share the cores.
"""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import uvloop
from aiokafka import AIOKafkaProducer

from farebox import topics
from farebox.kafka import Message, Producer, Record, Rejected, make_broker, subscribe
from farebox.outbox import OutboxRelay, backlog, enqueue
from farebox.postgres import Pool, migrate, open_pool, transaction
from farebox_local.kafka import Kafka
from farebox_local.postgres import Postgres

TOPIC = topics.USAGE_PRICED.name
CALL = 2_000
ROUNDS = 50
TIMEOUT_S = 60.0


def messages(count: int = CALL) -> list[Message]:
    """Like priced usage: 600 bytes, seven headers, 5,000 users."""
    fixed = (("ce_source", b"farebox/metering"), ("ce_type", b"farebox.usage.priced.v1"), ("ce_specversion", b"1.0"))
    last = (
        ("ce_time", b"2026-01-01T00:00:00Z"),
        ("ce_subject", b"org/team/user"),
        ("content-type", b"application/json"),
    )
    return [
        Message(TOPIC, b"user-%d" % (n % 5_000), b"%600d" % n, (("ce_id", uuid.uuid4().bytes), *fixed, *last))
        for n in range(count)
    ]


@contextmanager
def measured(what: str, count: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:44} {count / wall:10,.0f} messages/s {cpu / count * 1e6:8.1f} CPU µs each")


async def produce(bootstrap: str) -> None:
    calls = [messages() for _ in range(ROUNDS)]
    async with Producer(bootstrap, client_id="bench") as producer:
        await producer.send(messages(1), TIMEOUT_S)
        with measured(f"send, {CALL} a call", CALL * ROUNDS):
            for call in calls:
                await producer.send(call, TIMEOUT_S)
        with measured("send, one a call, 100 callers", CALL * 10):
            await asyncio.gather(*(_one_by_one(producer, calls[n][:200]) for n in range(50) for _ in range(2)))
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5, max_batch_size=900_000
    ) as plain:
        with measured("aiokafka's send and a future each", CALL * ROUNDS):
            for call in calls:
                await asyncio.gather(
                    *[await plain.send(TOPIC, m.value, key=m.key, headers=list(m.headers)) for m in call]
                )


async def _one_by_one(producer: Producer, call: Sequence[Message]) -> None:
    for message in call:
        await producer.send([message], TIMEOUT_S)


async def consume(bootstrap: str) -> None:
    seen, begun, done = 0, asyncio.Event(), asyncio.Event()

    async def count(records: Sequence[Record]) -> Sequence[Rejected]:
        nonlocal seen
        seen += len(records)
        if not begun.is_set():
            seen = 0
            begun.set()
        elif seen >= CALL * ROUNDS:
            done.set()
        return []

    async with Producer(bootstrap, client_id="bench") as producer, make_broker(bootstrap, client_id="bench") as broker:
        subscribe(broker, TOPIC, group_id="bench", handle=count, producer=producer)
        await broker.start()
        await begun.wait()
        with measured("consume, batches to a handler", CALL * ROUNDS):
            await done.wait()


async def outbox(bootstrap: str, pool: Pool) -> None:
    calls = [messages() for _ in range(ROUNDS)]
    async with Producer(bootstrap, client_id="bench") as producer:
        await producer.send(messages(1), TIMEOUT_S)
        relay = OutboxRelay(pool, producer, schema="budget")
        with measured("outbox, enqueue alone", CALL * ROUNDS):
            for call in calls:
                await _put(pool, call)
        with measured("outbox, relay alone", CALL * ROUNDS):
            while await relay.relay_once():
                pass
        async with relay:
            with measured("outbox, both at once", CALL * ROUNDS):
                for call in calls:
                    await _put(pool, call)
                    relay.wake()
                while (await backlog(pool)).depth:  # noqa: ASYNC110 - the database has no event for "empty"
                    await asyncio.sleep(0.01)


async def _put(pool: Pool, call: Sequence[Message]) -> None:
    async with transaction(pool) as connection:
        await enqueue(connection, call)


async def main(bootstrap: str, dsn: str) -> None:
    await topics.create(bootstrap, replication=1)
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE SCHEMA budget")
    await connection.close()
    await migrate(dsn, schema="budget", package="budget")
    pool = await open_pool(dsn, schema="budget", size=4)
    await produce(bootstrap)
    await consume(bootstrap)
    await outbox(bootstrap, pool)
    await pool.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        kafka, postgres = Kafka(folder), Postgres(folder)
        try:
            kafka.start()
            postgres.start()
            uvloop.run(main(kafka.bootstrap, postgres.dsn()))
        finally:
            kafka.stop()
            postgres.stop()
