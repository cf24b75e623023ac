"""The outbox: messages that are published if, and only if, the transaction that tells of them commits.

    async with transaction(pool) as connection:
        ...                                    # the effect
        await enqueue(connection, messages)    # what to tell of it
    relay.wake()

Every message reaches Kafka at least once. Messages of a key arrive in the order of their transactions wherever those
transactions exclude each other (say, by the lock on the row that the key names) before they call `enqueue`.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import TracebackType
from typing import Final, Self

import orjson
import structlog
from prometheus_client import Counter, Gauge

from farebox import faults
from farebox.kafka.backoff import Backoff
from farebox.kafka.batch import Batch, pack, unpack
from farebox.kafka.producer import Producer, too_large
from farebox.kafka.record import Message
from farebox.postgres import Connection, Pool, Queries, session, transaction
from farebox.topics import ALL

log = structlog.get_logger()

CLAIM_BATCHES_MAX: Final = 1_000
CLAIM_BYTES_MAX: Final = 8_000_000
POLL_S: Final = 0.5
"""Between looks at an outbox that nobody has woken the relay for."""
BUSY_RETRY_S: Final = 0.05
"""Before looking again while another replica's relay is at work."""
PUBLISH_TIMEOUT_S: Final = 30.0
"""Below the server's idle_in_transaction_session_timeout: the claim's transaction is open meanwhile."""
STALLED_AFTER_S: Final = 120.0
BACKLOG_EVERY_S: Final = 5.0
RETRY: Final = Backoff(base_s=0.1, cap_s=10.0)

DEPTH: Final = Gauge("farebox_outbox_depth_messages", "Messages waiting in the outbox.", ["schema"])
OLDEST: Final = Gauge("farebox_outbox_oldest_age_seconds", "Age of the oldest waiting message.", ["schema"])
RELAYED: Final = Counter("farebox_outbox_relayed_messages", "Messages published and removed.", ["schema"])
BURIED: Final = Counter("farebox_outbox_buried_messages", "Messages that Kafka cannot take.", ["reason"])

TOO_LARGE: Final = "too_large"

_SQL: Final = Queries.load("farebox")
_PARTITIONS: Final = {topic.name: topic.partitions for topic in ALL}
"""What batches are made for; the producer makes them again where the broker has another number."""


async def enqueue(connection: Connection, messages: Sequence[Message]) -> None:
    """Store messages for publication inside the caller's transaction; those of a key in this order. One statement.

    A message over Kafka's limit goes to `outbox_dead` instead, with its reason: it must not undo the caller's effect.
    """
    if not messages:
        return
    if large := too_large(messages):
        await _bury(connection, large)
        messages = [message for message in messages if message not in large]
    partitions = {message.topic: _PARTITIONS.get(message.topic, 1) for message in messages}
    batches = pack(messages, partitions)
    await connection.execute(
        _SQL["outbox_enqueue"],
        [batch.topic for batch in batches],
        [batch.partition for batch in batches],
        [batch.partitions for batch in batches],
        [batch.messages for batch in batches],
        [batch.data for batch in batches],
    )


async def _bury(connection: Connection, messages: Sequence[Message]) -> None:
    for message in messages:
        headers = [(name, value and value.decode("latin-1")) for name, value in message.headers]
        await connection.execute(
            _SQL["outbox_bury"], message.topic, message.key, message.value, orjson.dumps(headers).decode(), TOO_LARGE
        )
        BURIED.labels(TOO_LARGE).inc()
        log.error("outbox_message_buried", topic=message.topic, key=message.key, reason=TOO_LARGE)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in an outbox: messages, and the age of the oldest in seconds (0 when empty)."""

    depth: int
    oldest_age_s: float


async def backlog(pool: Pool) -> Backlog:
    """Raises Transient while the database is away."""
    async with session(pool) as connection:
        row = await connection.fetchrow(_SQL["outbox_backlog"])
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return Backlog(row["depth"], row["oldest_age_s"])


async def waiting(connection: Connection, topic: str) -> list[Message]:
    """A topic's messages that are not relayed yet, those of a key in order; for a look into an outbox that is stuck."""
    rows = await connection.fetch(_SQL["outbox_waiting"], topic)
    return [message for row in rows for message in unpack(Batch(*row))]


class OutboxRelay:
    """Publishes a schema's outbox. One per replica may run; one at a time does the work.

    Entering starts it in the background, and it goes on through the loss of Kafka, of PostgreSQL, or of both.
    """

    def __init__(self, pool: Pool, producer: Producer, *, schema: str, claim_bytes_max: int = CLAIM_BYTES_MAX) -> None:
        self._pool = pool
        self._producer = producer
        self._schema = schema
        self._claim_bytes_max = claim_bytes_max
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._progress_at = 0.0

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Relay in the background. Needs a running loop."""
        if not self._tasks:
            self._progress_at = asyncio.get_running_loop().time()
            self._tasks = [
                asyncio.create_task(self._relay(), name=f"outbox {self._schema}"),
                asyncio.create_task(self._measure(), name=f"outbox backlog {self._schema}"),
            ]

    async def stop(self) -> None:
        """End at once. A claim under way is rolled back: its messages are published again by the next relay."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def wake(self) -> None:
        """Look now: a transaction with messages has committed."""
        self._woken.set()

    def problems(self) -> list[str]:
        if not self._tasks or any(task.done() for task in self._tasks):
            return [f"outbox {self._schema}: its relay has ended"]
        idle_s = asyncio.get_running_loop().time() - self._progress_at
        return [f"outbox {self._schema}: no sign of life for {idle_s:.0f} s"] if idle_s > STALLED_AFTER_S else []

    def unready(self) -> list[str]:
        """A relay is always ready: it holds nothing that a caller waits for."""
        return []

    async def relay_once(self) -> int | None:
        """Publish the oldest messages; how many, or None when another relay is at work.

        Raises Transient (Undelivered included): nothing was removed, though some may have been published.
        """
        async with transaction(self._pool) as connection:
            if not await connection.fetchval(_SQL["outbox_lead"]):
                return None
            rows = await connection.fetch(_SQL["outbox_take"], CLAIM_BATCHES_MAX, self._claim_bytes_max)
            rows.sort(key=itemgetter("seq"))  # RETURNING promises no order
            batches = [Batch(*row[1:]) for row in rows]
            await self._producer.send_batches(batches, PUBLISH_TIMEOUT_S)
            if batches:
                faults.point("outbox.after_publish")
        return sum(batch.messages for batch in batches)

    async def _relay(self) -> None:
        faults = 0
        while True:
            self._progress_at = asyncio.get_running_loop().time()
            self._woken.clear()
            try:
                pause_s = await self._turn()
                faults = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, the relay must go on trying
                faults += 1
                pause_s = RETRY.jittered_s(faults)
                log.warning("outbox_relay_failed", schema=self._schema, faults=faults, error=repr(error))
                await asyncio.sleep(pause_s)
                continue
            if pause_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause_s)

    async def _turn(self) -> float:
        """One look; how long to wait for the next, in seconds, unless woken."""
        if not self._producer.connected:
            return BUSY_RETRY_S  # a claim would only hold its transaction open
        sent = await self.relay_once()
        if sent is None:
            await asyncio.sleep(BUSY_RETRY_S)
            return 0.0
        RELAYED.labels(self._schema).inc(sent)
        return 0.0 if sent else POLL_S

    async def _measure(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # the database is away: the last figures stand
                left = await backlog(self._pool)
                DEPTH.labels(self._schema).set(left.depth)
                OLDEST.labels(self._schema).set(left.oldest_age_s)
            await asyncio.sleep(BACKLOG_EVERY_S)
