"""Metering as tests see it from outside: topics, tables, and replicas to start."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from farebox.events import RequestCompleted, UsagePriced, decode
from farebox.kafka import Message, Producer, Record
from metering.app import Metering, Names, metering
from metering.settings import Settings
from support.attempts import message_of
from support.eventually import eventually

if TYPE_CHECKING:
    import asyncpg

SEND_TIMEOUT_S = 20.0


@dataclass
class Books:
    """What a test has in hand."""

    settings: Settings
    names: Names
    producer: Producer
    connection: "asyncpg.Connection[asyncpg.Record]"

    def replica(self) -> AbstractAsyncContextManager[Metering]:
        """A replica in this process, at work while entered."""
        return metering(self.settings, self.names)

    async def send(self, *attempts: RequestCompleted) -> None:
        """Publish attempts as the gateway does."""
        await self.publish(*(message_of(attempt, self.names.requests) for attempt in attempts))

    async def publish(self, *messages: Message) -> None:
        await self.producer.send(messages, SEND_TIMEOUT_S)

    async def fetch(self, sql: str, *parameters: Any) -> "list[asyncpg.Record]":
        return await self.connection.fetch(sql, *parameters)

    async def value(self, sql: str, *parameters: Any) -> Any:
        return await self.connection.fetchval(sql, *parameters)

    async def entries(self, count: int) -> "list[asyncpg.Record]":
        """The ledger, once it has this many entries."""

        async def found() -> "list[asyncpg.Record]":
            rows = await self.fetch("SELECT * FROM ledger ORDER BY entry_id")
            assert len(rows) >= count
            return rows

        rows = await eventually(found, within_s=30)
        assert len(rows) == count
        return rows

    async def priced(self, count: int) -> list[UsagePriced]:
        """What is on usage.priced, once that is this many."""

        async def found() -> list[UsagePriced]:
            events = [decode(headers=r.headers, value=r.value).event for r in await self.on(self.names.priced)]
            priced = [event for event in events if isinstance(event, UsagePriced)]
            assert len(priced) >= count
            return priced

        return await eventually(found, within_s=30)

    async def dead(self, count: int) -> list[Record]:
        """The dead letters, once there are this many."""

        async def found() -> list[Record]:
            records = await self.on(f"{self.names.requests}.dead")
            assert len(records) >= count
            return records

        return await eventually(found, within_s=30)

    async def on(self, topic: str) -> list[Record]:
        """Everything that is on a topic now, each partition in order."""
        records: list[Record] = []
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=self.settings.kafka_bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            ends = await consumer.end_offsets(list(consumer.assignment()))
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for polled in (await consumer.getmany(timeout_ms=100)).values():
                    records += map(Record.of, polled)
        return records

    async def committed(self) -> int:
        """Records that the group has committed."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap, group_id=self.names.group, enable_auto_commit=False
        ) as consumer:
            places = [TopicPartition(self.names.requests, number) for number in range(3)]
            return sum([await consumer.committed(place) or 0 for place in places])
