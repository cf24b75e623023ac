"""What the harness does to topics: poison, duplicates, replay; and reading them to their end."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chaos.schedule import AWAY_S
from farebox.topics import ALL

T = TypeVar("T")

READ_MS: Final = 2_000
POISON_KEY: Final = b"poison-"
_POISONS: Final[tuple[tuple[bytes | None, tuple[tuple[str, bytes], ...]], ...]] = (
    (b"not json at all", (("ce_type", b"farebox.request.completed.v1"),)),
    (None, (("ce_type", b"farebox.usage.priced.v1"),)),
    (b"{}", (("ce_type", b"farebox.unknown.v9"),)),
    (b'{"half": ', (("ce_type", b"\xff\xfe"), ("ce_id", b"\x00"))),
    (b"[1, 2, 3]", ()),
)
WITHIN_S: Final = 60.0 + sum(AWAY_S.values())
_PARTITIONS: Final = {topic.name: topic.partitions for topic in ALL}


class Kafka:
    """The broker of a run. Every call insists: a broker that is away comes back."""

    def __init__(self, bootstrap: str, chance: random.Random) -> None:
        self._bootstrap = bootstrap
        self._chance = chance
        self.poisoned: dict[str, list[bytes]] = {}

    async def poison(self, topic: str) -> None:
        """Records that are no events, each under a key of its own."""
        keys = self.poisoned.setdefault(topic, [])
        records = []
        for value, headers in _POISONS:
            keys.append(POISON_KEY + f"{topic}-{len(keys)}".encode())
            records.append((keys[-1], value, headers))
        await self._insist(lambda: self._produce(topic, records))

    async def duplicate(self, topic: str, count: int = 30) -> None:
        """Publish some of a topic's records once more."""
        found = await self._insist(lambda: self._some(topic, count))
        await self._insist(lambda: self._produce(topic, [(r.key, r.value, tuple(r.headers)) for r in found]))

    async def rewind(self, group: str, topic: str) -> None:
        """Let a group, all of whose members have left, begin at the first record again."""
        await self._insist(lambda: self._rewind(group, topic))

    async def read(self, topic: str) -> list[Any]:
        """Every record there is."""
        return await self._insist(lambda: self._read(topic))

    async def lag(self, group: str, topic: str) -> int:
        """Records of a topic that a group has not committed."""
        return await self._insist(lambda: self._lag(group, topic))

    async def _produce(self, topic: str, records: Sequence[tuple[Any, Any, Any]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", request_timeout_ms=5_000)
        try:
            async with asyncio.timeout(15):
                await producer.start()
                for key, value, headers in records:
                    await producer.send_and_wait(topic, value, key=key, headers=list(headers))
        finally:
            await producer.stop()

    async def _some(self, topic: str, count: int) -> list[Any]:
        records: list[Any] = []
        consumer = await self._consumer(topic)
        try:
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
            places = [place for place, end in ends.items() if end]
            if not places:
                return []
            place = self._chance.choice(places)
            consumer.seek(place, self._chance.randrange(ends[place]))
            for other in places:
                if other != place:
                    consumer.pause(other)
            batch = await consumer.getmany(place, timeout_ms=READ_MS, max_records=count)
            records = [record for found in batch.values() for record in found]
        finally:
            await consumer.stop()
        return [record for record in records if not (record.key or b"").startswith(POISON_KEY)]

    async def _read(self, topic: str) -> list[Any]:
        consumer = await self._consumer(topic)
        try:
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
            places = [place for place, end in ends.items() if end]
            for place in places:
                consumer.seek(place, 0)
            records: list[Any] = []
            for place in places:
                while await consumer.position(place) < ends[place]:
                    batch = await consumer.getmany(timeout_ms=READ_MS)
                    records += [record for found in batch.values() for record in found]
            return records
        finally:
            await consumer.stop()

    async def _consumer(self, topic: str, group: str | None = None) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=5_000,
        )
        try:
            async with asyncio.timeout(15):
                await consumer.start()
                consumer.assign([TopicPartition(topic, number) for number in range(_PARTITIONS.get(topic, 1))])
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _rewind(self, group: str, topic: str) -> None:
        consumer = await self._consumer(topic, group)
        try:
            async with asyncio.timeout(15):
                await consumer.commit(dict.fromkeys(consumer.assignment(), 0))
        finally:
            await consumer.stop()

    async def _lag(self, group: str, topic: str) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=5_000)
        async with asyncio.timeout(15):
            await admin.start()
            try:
                committed = await admin.list_consumer_group_offsets(group)
            finally:
                await admin.close()
        consumer = await self._consumer(topic)
        try:
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
        finally:
            await consumer.stop()
        return sum(end - max(0, committed[place].offset if place in committed else 0) for place, end in ends.items())

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        until = time.monotonic() + WITHIN_S
        while True:
            try:
                return await work()
            except (KafkaError, TimeoutError, OSError):
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)
