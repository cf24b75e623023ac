"""The producer: confirmed, idempotent, in the order of a key, and never dead for good.

It drives `aiokafka.AIOKafkaProducer` by whole batches: messages are laid into one buffer per partition and one
acknowledgement is awaited per buffer instead of one future per message; see ADR 4. An idempotent aiokafka
producer cannot be used after a refused batch (its sequence numbers have a hole, aiokafka #1017), and it never times a
batch out, so it is given up for a fresh one when either happens.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from farebox.errors import FareboxError, Transient
from farebox.kafka import metrics
from farebox.kafka.backoff import Backoff
from farebox.kafka.batch import BATCH_BYTES_MAX, Batch, arrange
from farebox.kafka.dead import SUFFIX
from farebox.kafka.record import Message

log = structlog.get_logger()

MESSAGE_BYTES_MAX: Final = 1_000_000
"""Key, value and headers of one message; the broker's default limit is 1,048,588 with its own framing."""
DEAD_LETTER_BYTES_MAX: Final = 2_000_000
"""A dead letter carries more headers than its original, which may itself be at the broker's limit."""
REQUEST_TIMEOUT_MS: Final = 10_000
RECONNECT: Final = Backoff(base_s=0.2, cap_s=5.0)
CONNECT_TIMEOUT_S: Final = 15.0
CLOSE_TIMEOUT_S: Final = 5.0
STUCK_AFTER_S: Final = 60.0
"""Batches not acknowledged for so long mean a producer that hangs, or a Kafka that was away so long."""
ROUND_MESSAGES_MAX: Final = 20_000
"""Messages in flight at once: calls that wait together travel together, up to this many or one call."""
_MESSAGE_OVERHEAD_BYTES: Final = 64
_HEADER_OVERHEAD_BYTES: Final = 8


class Undelivered(Transient):
    """Not acknowledged: some of the messages may be on the broker, none is known to be. Send all of them again."""

    code = "kafka_unavailable"


class MessageTooLarge(FareboxError):
    """Some messages are over the limit; none of the call's messages was sent. `messages` are the large ones."""

    code = "message_too_large"

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = tuple(messages)
        super().__init__(f"{len(self.messages)} messages over {MESSAGE_BYTES_MAX} bytes")


@dataclass(eq=False, slots=True)
class _Call:
    """One `send`; `done` is cancelled when its time is up."""

    parcels: Sequence[Message | Batch]
    count: int
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Producer:
    """Publishes messages, all or an error. Entering starts it in the background; leaving flushes and closes it."""

    def __init__(self, bootstrap: str, *, client_id: str, stuck_after_s: float = STUCK_AFTER_S) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._stuck_after_s = stuck_after_s
        self._client: Any = None
        self._connected = asyncio.Event()
        self._calls: deque[_Call] = deque()
        self._called = asyncio.Event()
        self._idle = asyncio.Event()
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
            self._idle.set()
            self._keeper = asyncio.create_task(self._keep(), name=f"producer {self._client_id}")

    async def stop(self) -> None:
        """Give what is under way CLOSE_TIMEOUT_S to be acknowledged, then close."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), CLOSE_TIMEOUT_S)
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        """Publish all and return when every in-sync replica has them.

        Messages of one key arrive in the order of the messages and of the calls. After an error the caller sends
        everything again, so readers may see some messages twice, and the newest last.

        Raises Undelivered (not acknowledged within `timeout_s`, or Kafka is away), MessageTooLarge (nothing was sent).
        """
        if large := too_large(messages):
            raise MessageTooLarge(large)
        await self._confirmed(messages, Counter(m.topic for m in messages), timeout_s)

    async def send_batches(self, batches: Sequence[Batch], timeout_s: float) -> None:
        """As `send`, for messages that were laid into batches before."""
        counts: Counter[str] = Counter()
        for batch in batches:
            counts[batch.topic] += batch.messages
        await self._confirmed(batches, counts, timeout_s)

    @property
    def connected(self) -> bool:
        """Whether there is a producer to send with; the broker may still have gone since."""
        return self._connected.is_set()

    @property
    def healthy(self) -> bool:
        """False when the task that connects and sends has ended, so that nothing will ever be sent."""
        return self._keeper is not None and not self._keeper.done()

    def problems(self) -> list[str]:
        return [] if self.healthy else [f"producer {self._client_id}: not running"]

    def unready(self) -> list[str]:
        return [] if self.connected else [f"producer {self._client_id}: not connected to Kafka"]

    async def _confirmed(self, parcels: Sequence[Message | Batch], counts: Counter[str], timeout_s: float) -> None:
        if not parcels:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._deliver(_Call(parcels, counts.total()), topics=counts)
        except (KafkaError, TimeoutError, OSError) as error:
            metrics.UNDELIVERED.labels(self._client_id).inc()
            raise Undelivered(f"{counts.total()} messages not acknowledged: {error!r}") from error
        for topic, count in counts.items():
            metrics.PRODUCED.labels(topic).inc(count)

    async def _deliver(self, call: _Call, topics: Iterable[str]) -> None:
        while self._client is None:
            await self._connected.wait()
        for topic in topics:  # here, so that an unknown topic holds up nobody else
            await self._client.partitions_for(topic)
        self._calls.append(call)
        self._called.set()
        await call.done

    async def _keep(self) -> None:
        """Connect, send until that fails, begin again with a fresh producer."""
        while True:
            client = await self._connect()
            try:
                self._client = client
                self._connected.set()
                metrics.CONNECTED.labels(self._client_id).set(1)
                log.info("producer_connected", client=self._client_id)
                reason = await self._pump(client)
                metrics.REPLACED.labels(self._client_id).inc()
                log.warning("producer_replaced", client=self._client_id, reason=reason)
            finally:
                self._client = None
                self._connected.clear()
                metrics.CONNECTED.labels(self._client_id).set(0)
                await _abandon(client)

    async def _connect(self) -> Any:
        attempt = 0
        while True:
            client = self._make_client()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await client.start()
            except (KafkaError, OSError, TimeoutError) as error:
                attempt += 1
                log.warning("producer_cannot_connect", client=self._client_id, attempt=attempt, error=repr(error))
                await _abandon(client)
                await asyncio.sleep(RECONNECT.jittered_s(attempt))
            except BaseException:
                await _abandon(client)
                raise
            else:
                return client

    def _make_client(self) -> Any:
        return AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            compression_type=None,
            linger_ms=0,  # whole batches are handed over, there is nothing to wait for
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=DEAD_LETTER_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=100,
            metadata_max_age_ms=60_000,
            connections_max_idle_ms=540_000,
        )

    async def _pump(self, client: Any) -> str:
        """Send what is called for, one round after the other; says why this client is of no more use.

        One round at a time keeps the order of calls, and keeps the repetitions of a call that timed out from piling up
        in aiokafka's queue while Kafka is away: they wait here, where a call whose time is up is dropped.
        """
        while True:
            self._called.clear()
            calls = self._take()
            if not calls:
                self._idle.set()
                await self._called.wait()
                continue
            self._idle.clear()
            try:
                await _send_round(client, [p for call in calls for p in call.parcels], self._stuck_after_s)
            except (KafkaError, TimeoutError, OSError) as error:
                for call in calls:
                    if not call.done.done():
                        call.done.set_exception(error)
                return repr(error)
            for call in calls:
                if not call.done.done():
                    call.done.set_result(None)

    def _take(self) -> list[_Call]:
        taken: list[_Call] = []
        messages = 0
        while self._calls and (not taken or messages + self._calls[0].count <= ROUND_MESSAGES_MAX):
            call = self._calls.popleft()
            if not call.done.done():
                taken.append(call)
                messages += call.count
        return taken


async def _send_round(client: Any, parcels: Sequence[Message | Batch], timeout_s: float) -> None:
    """Raises KafkaError when a batch was refused, TimeoutError when one was not acknowledged in time."""
    partitions = {topic: len(await client.partitions_for(topic)) for topic in {p.topic for p in parcels}}
    lanes = arrange(parcels, partitions)
    acks: list[asyncio.Future[Any]] = []
    # In turns, because aiokafka takes a partition's next batch only when its last one has left the queue.
    for turn in range(max(map(len, lanes.values()))):
        for (topic, partition), batches in lanes.items():
            if turn < len(batches):
                batches[turn].close()  # a closed batch leaves at once
                acks.append(await client.send_batch(batches[turn], topic, partition=partition))
                acks[-1].add_done_callback(_seen)
    done, pending = await asyncio.wait(acks, timeout=timeout_s, return_when=asyncio.FIRST_EXCEPTION)
    for ack in done:
        ack.result()
    if pending:
        raise TimeoutError(f"{len(pending)} batches not acknowledged for {timeout_s:g} s")


async def _abandon(client: Any) -> None:
    """Close without flushing, which aiokafka has no method for: a flush could wait for lost batches for ever."""
    client._closed = True  # noqa: SLF001 - or it complains when it is collected
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.client.close()
            await client._sender.close()  # noqa: SLF001 - ends its task


def too_large(messages: Iterable[Message]) -> list[Message]:
    """Those over the limit of their topic."""
    return [m for m in messages if _size_bytes(m) > _bytes_max(m.topic)]


def _size_bytes(message: Message) -> int:
    headers = sum(len(name) + len(value or b"") + _HEADER_OVERHEAD_BYTES for name, value in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers + _MESSAGE_OVERHEAD_BYTES


def _bytes_max(topic: str) -> int:
    return DEAD_LETTER_BYTES_MAX if topic.endswith(SUFFIX) else MESSAGE_BYTES_MAX


def _seen(ack: asyncio.Future[Any]) -> None:
    """Take note of a failure nobody waits for any more, so that asyncio does not complain of it."""
    if not ack.cancelled():
        ack.exception()
