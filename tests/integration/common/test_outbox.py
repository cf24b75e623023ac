"""The outbox between a real PostgreSQL and a real Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from farebox.kafka import Message, Producer, Undelivered
from farebox.kafka.batch import Batch
from farebox.outbox import Backlog, OutboxRelay, backlog, enqueue
from farebox.postgres import Pool, open_pool, transaction
from support.eventually import eventually
from support.records import digits, numbered, read

SCHEMA = "budget"


@pytest.fixture
async def pool(database: Callable[[str], str]) -> AsyncIterator[Pool]:
    pool = await open_pool(database(SCHEMA), schema=SCHEMA, size=6)
    yield pool
    await pool.close()


async def put(pool: Pool, messages: Sequence[Message], *, fail: bool = False) -> None:
    async with transaction(pool) as connection:
        await enqueue(connection, messages)
        if fail:
            raise ZeroDivisionError


async def depth(pool: Pool) -> int:
    return (await backlog(pool)).depth


class Unreliable(Producer):
    """Publishes, and then says it did not; as when the acknowledgement is lost."""

    def __init__(self, bootstrap: str, *, failures: int) -> None:
        super().__init__(bootstrap, client_id="unreliable")
        self.failures = failures

    async def send_batches(self, batches: Sequence[Batch], timeout_s: float) -> None:
        await super().send_batches(batches, timeout_s)
        if self.failures:
            self.failures -= 1
            raise Undelivered("the acknowledgement was lost")


async def test_committed_messages_arrive_whole_and_leave_the_outbox(
    pool: Pool, producer: Producer, kafka: str, source: str
) -> None:
    message = Message(source, b"\x00key", b"\xffvalue", (("ce_id", b"7"), ("latin", b"caf\xe9"), ("null", None)))
    async with OutboxRelay(pool, producer, schema=SCHEMA) as relay:
        await put(pool, [message])
        relay.wake()
        (record,) = await read(kafka, source, 1)
        assert (record.key, record.value, record.raw_headers) == (message.key, message.value, message.headers)
        await eventually(lambda: _is_empty(pool))


async def test_rolled_back_messages_are_never_published(
    pool: Pool, producer: Producer, kafka: str, source: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        await put(pool, numbered(source, 3), fail=True)
    await put(pool, [Message(source, b"key", b"only")])
    async with OutboxRelay(pool, producer, schema=SCHEMA):
        assert [record.value for record in await read(kafka, source, 1)] == [b"only"]


async def test_tombstones_are_relayed_as_null(pool: Pool, producer: Producer, kafka: str, source: str) -> None:
    await put(pool, [Message(source, b"key", None)])
    async with OutboxRelay(pool, producer, schema=SCHEMA):
        assert [(record.key, record.value) for record in await read(kafka, source, 1)] == [(b"key", None)]


async def test_messages_of_a_key_keep_their_order_over_claims_and_relays(
    pool: Pool, producer: Producer, kafka: str, source: str
) -> None:
    first, second = (OutboxRelay(pool, producer, schema=SCHEMA, claim_bytes_max=1) for _ in range(2))
    async with first, second:
        for n in range(40):
            await put(pool, numbered(source, 5, first=5 * n))
            first.wake()
            second.wake()
        assert [record.value for record in await read(kafka, source, 200)] == digits(200)


async def test_one_relay_works_at_a_time(pool: Pool, producer: Producer, source: str) -> None:
    await put(pool, numbered(source, 1))
    relay = OutboxRelay(pool, producer, schema=SCHEMA)
    async with transaction(pool) as elsewhere:
        await elsewhere.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('farebox.outbox.' || current_schema(), 0))"
        )
        assert await relay.relay_once() is None
    assert await relay.relay_once() == 1


async def test_lost_acknowledgement_publishes_again_the_newest_last(pool: Pool, kafka: str, source: str) -> None:
    await put(pool, numbered(source, 3))
    async with Unreliable(kafka, failures=1) as unreliable, OutboxRelay(pool, unreliable, schema=SCHEMA):
        assert [record.value for record in await read(kafka, source, 6)] == digits(3) * 2
        await eventually(lambda: _is_empty(pool))


async def test_relay_killed_between_publish_and_delete_publishes_again(
    pool: Pool, producer: Producer, kafka: str, source: str
) -> None:
    await put(pool, numbered(source, 3))
    published = asyncio.Event()

    class Killed(Producer):
        async def send_batches(self, batches: Sequence[Batch], timeout_s: float) -> None:
            await super().send_batches(batches, timeout_s)
            published.set()
            await asyncio.Event().wait()

    async with Killed(kafka, client_id="killed") as killed, OutboxRelay(pool, killed, schema=SCHEMA):
        await published.wait()
    assert await depth(pool) == 3
    async with OutboxRelay(pool, producer, schema=SCHEMA):
        assert [record.value for record in await read(kafka, source, 6)] == digits(3) * 2


async def test_message_too_large_is_buried_and_the_others_go_on(
    pool: Pool, producer: Producer, kafka: str, source: str
) -> None:
    large = Message(source, b"key", b"x" * 1_100_000)
    await put(pool, [Message(source, b"key", b"0"), large, Message(source, b"key", b"1")])
    async with OutboxRelay(pool, producer, schema=SCHEMA):
        assert [record.value for record in await read(kafka, source, 2)] == digits(2)
        await eventually(lambda: _is_empty(pool))
    assert await pool.fetchval("SELECT (length(value), reason)::text FROM outbox_dead") == "(1100000,too_large)"


async def test_backlog_tells_depth_and_age(pool: Pool, source: str) -> None:
    assert await backlog(pool) == Backlog(0, 0.0)
    await put(pool, numbered(source, 3))
    waiting = await backlog(pool)
    assert waiting.depth == 3
    assert waiting.oldest_age_s >= 0.0


async def test_relay_outlives_the_loss_of_the_database(pool: Pool, producer: Producer, kafka: str, source: str) -> None:
    async with OutboxRelay(pool, producer, schema=SCHEMA) as relay:
        await put(pool, numbered(source, 1))
        await read(kafka, source, 1)
        await _end_sessions(pool)
        await eventually(lambda: _put(pool, numbered(source, 1, first=1)))
        assert [record.value for record in await read(kafka, source, 2)] == digits(2)
        assert relay.problems() == []


async def _is_empty(pool: Pool) -> bool:
    return await depth(pool) == 0


async def _put(pool: Pool, messages: Sequence[Message]) -> bool:
    await put(pool, messages)
    return True


async def _end_sessions(pool: Pool) -> None:
    async with transaction(pool) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
