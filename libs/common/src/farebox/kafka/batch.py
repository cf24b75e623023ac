"""Messages laid into Kafka's record batches: one buffer for many messages of a partition, built once.

The outbox keeps batches, so that a message costs Python once on its way: when it is laid in. What the producer adds
(its id, epoch and sequence) has a fixed place in the batch's header (KIP-98; `DefaultRecordBatch` in Kafka's source).
"""

import random
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from farebox.kafka.record import Message

BATCH_BYTES_MAX: Final = 900_000
MERGE_BELOW_MESSAGES: Final = 100
"""Smaller batches are opened and laid together: a partition takes one batch a round trip."""

_PRODUCER: Final = struct.Struct(">qhi")  # producer id, epoch, base sequence
_PRODUCER_AT: Final = 43
_CRC_AT: Final = 17
_CRC_FROM: Final = 21


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one partition of a topic that had `partitions` of them; `data` is Kafka's own format, version 2."""

    topic: str
    partition: int
    partitions: int
    messages: int
    data: bytes


Lanes: TypeAlias = dict[tuple[str, int], list[Any]]
"""By topic and partition, in order: what aiokafka's `send_batch` takes."""


def pack(messages: Iterable[Message], partitions: Mapping[str, int]) -> list[Batch]:
    """In the order of each partition; `partitions` is how many each topic has."""
    lanes = arrange(messages, partitions)
    return [
        Batch(topic, partition, partitions[topic], builder.record_count(), bytes(builder._build()))  # noqa: SLF001
        for (topic, partition), builders in lanes.items()
        for builder in builders
    ]


def unpack(batch: Batch) -> list[Message]:
    """The messages again, as they were laid in."""
    records = MemoryRecords(batch.data)
    messages: list[Message] = []
    while records.has_next():
        messages += [Message(batch.topic, r.key, r.value, tuple(r.headers)) for r in records.next_batch()]
    return messages


def arrange(parcels: Iterable[Message | Batch], partitions: Mapping[str, int]) -> Lanes:
    """Lay messages and batches into lanes, in order.

    A batch made for another number of partitions, or a small one, is opened and laid again.
    """
    lanes: Lanes = {}
    chance = random.getrandbits(31)  # keyless messages that travel together share a partition: fewer, larger batches
    for parcel in parcels:
        if isinstance(parcel, Batch):
            if parcel.partitions == partitions[parcel.topic] and parcel.messages >= MERGE_BELOW_MESSAGES:
                lanes.setdefault((parcel.topic, parcel.partition), []).append(_Sealed(parcel))
                continue
            loose: Sequence[Message] = unpack(parcel)
        else:
            loose = (parcel,)
        for message in loose:
            hashed = chance if message.key is None else _hash(message.key)
            lane = lanes.setdefault((message.topic, hashed % partitions[message.topic]), [])
            if not lane or not _appended(lane[-1], message):
                lane.append(BatchBuilder(BATCH_BYTES_MAX, 0))
                _appended(lane[-1], message)
    return lanes


def _appended(builder: Any, message: Message) -> bool:
    added = builder.append(timestamp=None, key=message.key, value=message.value, headers=list(message.headers))
    return added is not None


@lru_cache(maxsize=65_536)
def _hash(key: bytes) -> int:
    """As in Kafka's default partitioner; remembered, because in Python it costs more than the rest of a message."""
    hashed: int = murmur2(key) & 0x7FFFFFFF
    return hashed


class _Sealed:
    """A packed batch with the methods that aiokafka's queue calls on a `BatchBuilder`."""

    def __init__(self, batch: Batch) -> None:
        self._messages = batch.messages
        self._buffer = bytearray(batch.data)

    def append(self, **_: Any) -> None:
        """Always full."""

    def close(self) -> None:
        pass

    def closed(self) -> bool:
        return True

    def record_count(self) -> int:
        return self._messages

    def size(self) -> int:
        return len(self._buffer)

    def _set_producer_state(self, producer_id: int, epoch: int, base_sequence: int) -> None:
        _PRODUCER.pack_into(self._buffer, _PRODUCER_AT, producer_id, epoch, base_sequence)
        checksum = calc_crc32c(memoryview(self._buffer)[_CRC_FROM:])
        struct.pack_into(">I", self._buffer, _CRC_AT, checksum)

    def _build(self) -> bytearray:
        return self._buffer
