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
from types import TracebackType
from typing import Any, Final, Self

import orjson
import structlog
from prometheus_client import Counter, Gauge

from farebox.kafka.backoff import Backoff
from farebox.kafka.producer import MessageTooLarge, Producer
from farebox.kafka.record import Message
from farebox.postgres import Connection, Pool, Queries, session, transaction

log = structlog.get_logger()

CLAIM_MESSAGES_MAX: Final = 5_000
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
BURIED: Final = Counter("farebox_outbox_buried_messages", "Messages that Kafka cannot take.", ["schema", "reason"])

_SQL: Final = Queries.load("farebox")


async def enqueue(connection: Connection, messages: Sequence[Message]) -> None:
    """Store messages for publication, in this order, inside the caller's transaction. One statement, however many."""
    if messages:
        await connection.execute(
            _SQL["outbox_enqueue"],
            [m.topic for m in messages],
            [m.key for m in messages],
            [m.value for m in messages],
            [_packed_headers(m) for m in messages],
        )


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


class Relay:
    """Publishes a schema's outbox. One per replica may run; one at a time does the work.

    Entering starts it in the background, and it goes on through the loss of Kafka, of PostgreSQL, or of both.
    """

    def __init__(
        self, pool: Pool, producer: Producer, *, schema: str, claim_messages_max: int = CLAIM_MESSAGES_MAX
    ) -> None:
        self._pool = pool
        self._producer = producer
        self._schema = schema
        self._claim_messages_max = claim_messages_max
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
            rows = await connection.fetch(_SQL["outbox_take"], self._claim_messages_max)
            rows.sort(key=lambda row: row["seq"])  # RETURNING promises no order
            if rows:
                await self._publish(connection, rows)
        return len(rows)

    async def _publish(self, connection: Connection, rows: list[Any]) -> None:
        messages = [_message(row) for row in rows]
        try:
            await self._producer.send(messages, PUBLISH_TIMEOUT_S)
        except MessageTooLarge as error:
            large = set(map(id, error.messages))
            for row, message in zip(rows, messages, strict=True):
                if id(message) in large:
                    await self._bury(connection, row, "too_large")
            await self._producer.send([m for m in messages if id(m) not in large], PUBLISH_TIMEOUT_S)

    async def _bury(self, connection: Connection, row: Any, reason: str) -> None:
        await connection.execute(_SQL["outbox_bury"], *row.values(), reason)
        BURIED.labels(self._schema, reason).inc()
        log.error("outbox_message_buried", schema=self._schema, topic=row["topic"], seq=row["seq"], reason=reason)

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
        return 0.0 if sent == self._claim_messages_max else POLL_S

    async def _measure(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # the database is away: the last figures stand
                waiting = await backlog(self._pool)
                DEPTH.labels(self._schema).set(waiting.depth)
                OLDEST.labels(self._schema).set(waiting.oldest_age_s)
            await asyncio.sleep(BACKLOG_EVERY_S)


def _packed_headers(message: Message) -> bytes:
    return orjson.dumps([[name, None if value is None else value.decode("latin-1")] for name, value in message.headers])


def _message(row: Any) -> Message:
    headers = tuple(
        (name, None if value is None else value.encode("latin-1")) for name, value in orjson.loads(row["headers"])
    )
    return Message(row["topic"], row["key"], row["value"], headers)
