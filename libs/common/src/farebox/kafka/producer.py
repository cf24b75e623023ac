"""The producer: confirmed, idempotent, in the order of a key, and never dead for good.

It drives `aiokafka.AIOKafkaProducer` by whole batches: messages are laid into one buffer per partition (murmur2 of the
key, as every Kafka client does) and one acknowledgement is awaited per buffer instead of one future per message; see
ADR `kafka-clients`. An idempotent aiokafka producer cannot be used after a refused batch (its sequence numbers have a
hole, aiokafka #1017), and it never times a batch out, so it is given up for a fresh one when either happens.
"""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import murmur2

from farebox.errors import FareboxError, Transient
from farebox.kafka import metrics
from farebox.kafka.backoff import Backoff
from farebox.kafka.dead import SUFFIX
from farebox.kafka.record import Message

log = structlog.get_logger()

MESSAGE_BYTES_MAX: Final = 1_000_000
"""Key, value and headers of one message; the broker's default limit is 1,048,588 with its own framing."""
DEAD_LETTER_BYTES_MAX: Final = 2_000_000
"""A dead letter carries more headers than its original, which may itself be at the broker's limit."""
BATCH_BYTES_MAX: Final = 900_000
REQUEST_TIMEOUT_MS: Final = 10_000
RECONNECT: Final = Backoff(base_s=0.2, cap_s=5.0)
CONNECT_TIMEOUT_S: Final = 15.0
CLOSE_TIMEOUT_S: Final = 5.0
STUCK_AFTER_S: Final = 60.0
"""A batch not acknowledged for so long, though connected, means a producer that hangs."""
WATCH_EVERY_S: Final = 1.0
_MESSAGE_OVERHEAD_BYTES: Final = 64
_HEADER_OVERHEAD_BYTES: Final = 8


class Undelivered(Transient):
    """No acknowledgement: some of the messages may be on the broker, none is known to be. Send all of them again."""

    code = "kafka_unavailable"


class MessageTooLarge(FareboxError):
    """Some messages are over the limit; none of the call's messages was sent. `messages` are the large ones."""

    code = "message_too_large"

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = tuple(messages)
        super().__init__(f"{len(self.messages)} messages over {MESSAGE_BYTES_MAX} bytes")


class Producer:
    """Publishes messages, all or an error. Entering starts it in the background; leaving flushes and closes it."""

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str,
        stuck_after_s: float = STUCK_AFTER_S,
        batch_bytes_max: int = BATCH_BYTES_MAX,
    ) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._stuck_after_s = stuck_after_s
        self._batch_bytes_max = batch_bytes_max
        self._session: _Session | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Connect in the background, for as long as it takes. Needs a running loop."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_connected(), name=f"producer {self._client_id}")

    async def stop(self) -> None:
        """Give what is under way CLOSE_TIMEOUT_S to be acknowledged, then close."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        session, self._session = self._session, None
        self._connected.clear()
        if session is not None:
            await session.close(flush=True)

    async def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        """Publish all and return when every in-sync replica has them.

        Order: messages of one key, and calls one after the other, keep their order; calls at the same time have none.
        After an error the caller sends everything again, so that readers may see some messages twice, the newest last.

        Raises Undelivered (not acknowledged within `timeout_s`, or Kafka is away), MessageTooLarge (nothing was sent).
        """
        if large := [m for m in messages if _size_bytes(m) > _bytes_max(m.topic)]:
            raise MessageTooLarge(large)
        if not messages:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await (await self._current()).send(messages)
        except MessageSizeTooLargeError as error:
            raise MessageTooLarge(messages) from error
        except (KafkaError, TimeoutError, OSError) as error:
            metrics.UNDELIVERED.labels(self._client_id).inc()
            raise Undelivered(f"{len(messages)} messages not acknowledged: {error!r}") from error
        for topic, count in _counts(messages).items():
            metrics.PRODUCED.labels(topic).inc(count)

    @property
    def connected(self) -> bool:
        """Whether there is a producer to send with; the broker may still have gone since."""
        return self._connected.is_set()

    @property
    def healthy(self) -> bool:
        """False when the task that keeps this producer connected has ended, so that nothing will ever be sent."""
        return self._keeper is not None and not self._keeper.done()

    def problems(self) -> list[str]:
        return [] if self.healthy else [f"producer {self._client_id}: not running"]

    def unready(self) -> list[str]:
        return [] if self.connected else [f"producer {self._client_id}: not connected to Kafka"]

    async def _current(self) -> "_Session":
        while (session := self._session) is None:
            await self._connected.wait()
        return session

    async def _keep_connected(self) -> None:
        while True:
            session = await self._connect()
            self._session = session
            self._connected.set()
            metrics.CONNECTED.labels(self._client_id).set(1)
            log.info("producer_connected", client=self._client_id)
            reason = await session.ended(self._stuck_after_s)
            self._session = None
            self._connected.clear()
            metrics.CONNECTED.labels(self._client_id).set(0)
            metrics.REPLACED.labels(self._client_id).inc()
            log.warning("producer_replaced", client=self._client_id, reason=reason)
            await session.close(flush=False)

    async def _connect(self) -> "_Session":
        attempt = 0
        while True:
            client = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                compression_type=None,
                linger_ms=0,  # whole batches are handed over, there is nothing to wait for
                max_batch_size=self._batch_bytes_max,
                max_request_size=DEAD_LETTER_BYTES_MAX,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                retry_backoff_ms=100,
                metadata_max_age_ms=60_000,
                connections_max_idle_ms=540_000,
            )
            session = _Session(client)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await client.start()
            except (KafkaError, OSError, TimeoutError) as error:
                attempt += 1
                log.warning("producer_cannot_connect", client=self._client_id, attempt=attempt, error=repr(error))
                await session.close(flush=False)
                await asyncio.sleep(RECONNECT.jittered_s(attempt))
            except BaseException:
                await session.close(flush=False)
                raise
            else:
                return session


class _Session:
    """The life of one aiokafka producer: from its connecting to its first refused batch."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._overdue: set[asyncio.Future[Any]] = set()
        self._overdue_since = 0.0

    async def send(self, messages: Sequence[Message]) -> None:
        """Submit and await acknowledgement. When cancelled (a timeout) the batches under way become overdue."""
        # A call that timed out left its batches in aiokafka's queue. Piling its repetition on top would deliver
        # one more copy for every attempt, so the old batches come first.
        await self._acknowledged(self._overdue)
        acks: set[asyncio.Future[Any]] = set()
        try:
            await self._submit(messages, acks)
            await self._acknowledged(acks)
        finally:
            self._note_overdue({ack for ack in acks if not ack.done()})

    async def ended(self, stuck_after_s: float) -> str:
        """Wait until this producer is of no more use; says why."""
        sender = self._client._sender.sender_task  # noqa: SLF001 - aiokafka shows it nowhere else
        while not self._lost.done():
            await asyncio.wait({self._lost, sender}, timeout=WATCH_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                self._lose("its sender task ended")
            elif self._overdue and asyncio.get_running_loop().time() - self._overdue_since > stuck_after_s:
                self._lose(f"a batch was not acknowledged for {stuck_after_s:g} s")
        return self._lost.result()

    async def close(self, *, flush: bool) -> None:
        self._lose("closed")
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if flush:
                    await self._client.stop()
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._abandon()

    async def _abandon(self) -> None:
        """Close without flushing, which aiokafka has no method for: a flush could wait for lost batches for ever."""
        self._client._closed = True  # noqa: SLF001
        await self._client.client.close()
        await self._client._sender.close()  # noqa: SLF001

    async def _submit(self, messages: Sequence[Message], acks: set[asyncio.Future[Any]]) -> None:
        partitions = {topic: sorted(await self._client.partitions_for(topic)) for topic in {m.topic for m in messages}}
        packed = _pack(self._client, messages, partitions)
        # In turns, because aiokafka takes a partition's next batch only when its last one has left the queue.
        for turn in range(max(map(len, packed.values()))):
            for (topic, partition), batches in packed.items():
                if turn < len(batches):
                    batches[turn].close()  # a closed batch leaves at once
                    ack = await self._client.send_batch(batches[turn], topic, partition=partition)
                    ack.add_done_callback(_seen)
                    acks.add(ack)

    async def _acknowledged(self, acks: Iterable[asyncio.Future[Any]]) -> None:
        waiting = {ack for ack in acks if not ack.done()}
        while waiting:
            done, _ = await asyncio.wait({*waiting, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            if self._lost in done:
                raise KafkaError(self._lost.result())
            waiting -= done
        for ack in acks:
            if error := ack.exception():
                self._lose(repr(error))
                raise error

    def _note_overdue(self, acks: set[asyncio.Future[Any]]) -> None:
        self._overdue = {ack for ack in self._overdue if not ack.done()}
        if acks and not self._overdue:
            self._overdue_since = asyncio.get_running_loop().time()
        self._overdue |= acks

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)


def _pack(
    client: Any, messages: Iterable[Message], partitions: dict[str, list[int]]
) -> dict[tuple[str, int], list[Any]]:
    """Lay the messages into batches of at most `max_batch_size` bytes, per partition, in order."""
    packed: dict[tuple[str, int], list[Any]] = defaultdict(list)
    chance = random.getrandbits(31)  # keyless messages of one call share a partition: fewer, larger batches
    for message in messages:
        choice = partitions[message.topic]
        hashed = chance if message.key is None else _hash(message.key)
        batches = packed[message.topic, choice[hashed % len(choice)]]
        if not batches or not _appended(batches[-1], message):
            batches.append(client.create_batch())
            _appended(batches[-1], message)
    return packed


def _appended(batch: Any, message: Message) -> bool:
    added = batch.append(timestamp=None, key=message.key, value=message.value, headers=message.headers)
    return added is not None


@lru_cache(maxsize=65_536)
def _hash(key: bytes) -> int:
    """As in Kafka's default partitioner; remembered, because in Python it costs more than the rest of a message."""
    hashed: int = murmur2(key) & 0x7FFFFFFF
    return hashed


def _size_bytes(message: Message) -> int:
    headers = sum(len(name) + len(value or b"") + _HEADER_OVERHEAD_BYTES for name, value in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers + _MESSAGE_OVERHEAD_BYTES


def _bytes_max(topic: str) -> int:
    return DEAD_LETTER_BYTES_MAX if topic.endswith(SUFFIX) else MESSAGE_BYTES_MAX


def _counts(messages: Iterable[Message]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for message in messages:
        counts[message.topic] += 1
    return counts


def _seen(ack: asyncio.Future[Any]) -> None:
    """Take note of a failure nobody waits for any more, so that asyncio does not complain of it."""
    if not ack.cancelled():
        ack.exception()
