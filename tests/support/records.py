"""Handlers that remember, and topics read back."""

import time
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.record.util import calc_crc32c

from farebox.kafka import Message, Record, Rejected


class Remembering:
    """A handler that keeps what it was given; `fault` may raise, `reject` may refuse."""

    def __init__(
        self,
        *,
        fault: Callable[[Sequence[Record]], None] | None = None,
        reject: Callable[[Record], bool] = lambda _: False,
    ) -> None:
        self.records: list[Record] = []
        self._fault = fault
        self._reject = reject

    async def __call__(self, records: Sequence[Record]) -> Sequence[Rejected]:
        if self._fault is not None:
            self._fault(records)
        self.records += [record for record in records if not self._reject(record)]
        return [Rejected(record, "refused", "the test refuses it") for record in records if self._reject(record)]

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records]

    def has(self, *values: bytes | None) -> bool:
        return set(values) <= set(self.values)


def numbered(topic: str, count: int, *, keys: int = 1, first: int = 0) -> list[Message]:
    """Messages with values 0, 1, 2 … dealt out to `keys` keys."""
    return [Message(topic, b"key-%d" % (n % keys), b"%d" % n) for n in range(first, first + count)]


def digits(count: int) -> list[bytes]:
    return [b"%d" % n for n in range(count)]


async def read(bootstrap: str, topic: str, count: int) -> list[Record]:
    """The first `count` records of a topic, each partition in order."""
    records: list[Record] = []
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        while len(records) < count:
            for polled in (await consumer.getmany(timeout_ms=200)).values():
                records += map(Record.of, polled)
    return records


async def everything(bootstrap: str, topic: str) -> list[Record]:
    """What is on a topic now, each partition in order."""
    records: list[Record] = []
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for polled in (await consumer.getmany(timeout_ms=100)).values():
                records += map(Record.of, polled)
    return records


async def committed(bootstrap: str, group_id: str, topic: str, partitions: int) -> int:
    """Records of the topic that the group has committed."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group_id, enable_auto_commit=False)
    async with consumer:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        return sum([await consumer.committed(place) or 0 for place in places])


async def publish(
    bootstrap: str, topic: str, *values: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ()
) -> None:
    """With a client that is not ours, to partition 0."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"key", partition=0, headers=list(headers))


async def publish_old(bootstrap: str, *messages: Message) -> None:
    """As if it had been done an hour ago."""
    hour_ago = int(time.time() - 3_600) * 1_000
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for each in messages:
            headers = list(each.headers)
            await producer.send_and_wait(each.topic, each.value, each.key, timestamp_ms=hour_ago, headers=headers)


async def publish_undecodable(bootstrap: str, topic: str) -> None:
    """A record to partition 0 with a header name that is not UTF-8, as some clients can write it."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        batch = producer.create_batch()
        batch.append(timestamp=None, key=b"key", value=b"?", headers=[("name", b"")])
        raw = bytearray(batch._build().replace(b"name", b"\xff\xfe\xfd\xfc"))
        raw[17:21] = calc_crc32c(raw[21:]).to_bytes(4, "big")
        batch._buffer = raw
        await (await producer.send_batch(batch, topic, partition=0))


class Counted:
    """A handler, and how often it was called."""

    def __init__(self, handle: Callable[[Sequence[Record]], Awaitable[Sequence[Rejected]]]) -> None:
        self.calls = 0
        self._handle = handle

    async def __call__(self, records: Sequence[Record]) -> Sequence[Rejected]:
        self.calls += 1
        return await self._handle(records)

    def called(self, times: int) -> Callable[[], bool]:
        """The condition that it was called so often."""
        return lambda: self.calls >= times


async def length(bootstrap: str, topic: str) -> int:
    """Records that were ever written to a topic of one partition."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap) as consumer:
        return sum((await consumer.end_offsets(list(consumer.assignment()))).values())
