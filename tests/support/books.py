"""Metering as tests see it from outside: topics, tables, and replicas to start."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import SecretStr

from farebox.auth import Caller
from farebox.events import RequestCompleted, UsagePriced, decode
from farebox.kafka import Message, Producer, Record
from metering.app import Metering, Names, metering
from metering.settings import Settings
from support.attempts import message_of
from support.eventually import eventually
from support.metering_service import ADMIN, SECRET, api_client
from support.records import everything
from support.topic import create_topics

SEND_TIMEOUT_S = 20.0


@asynccontextmanager
async def open_books(kafka: str, dsn: str) -> AsyncIterator["Books"]:
    """Topics of a test's own on this broker, and metering's database."""
    mark = uuid.uuid4().hex[:12]
    names = Names(f"requests.{mark}", f"priced.{mark}", f"prices.{mark}", f"metering.{mark}")
    settings = Settings(
        port=0,
        ops_port=0,
        kafka_bootstrap=kafka,
        service_secret=SecretStr(SECRET),
        postgres_dsn=SecretStr(dsn),
    )
    await create_topics(kafka, {names.requests: 3, f"{names.requests}.dead": 1, names.priced: 3})
    await create_topics(kafka, {names.prices: 1}, compacted=True)
    async with Producer(kafka, client_id="test") as producer, asyncpg.create_pool(dsn, min_size=0, max_size=2) as pool:
        yield Books(settings, names, producer, pool)


@dataclass
class Books:
    """What a test has in hand."""

    settings: Settings
    names: Names
    producer: Producer
    pool: "asyncpg.Pool[asyncpg.Record]"

    @property
    def dsn(self) -> str:
        return self.settings.postgres_dsn.get_secret_value()

    def replica(self) -> AbstractAsyncContextManager[Metering]:
        """A replica in this process, at work while entered."""
        return metering(self.settings, self.names)

    def api(self, replica: Metering, who: Caller = ADMIN) -> httpx.AsyncClient:
        """A client of the replica's API, signed in."""
        return api_client(replica.store, replica.prices, who)

    async def send(self, *attempts: RequestCompleted) -> None:
        """Publish attempts as the gateway does."""
        await self.publish(*(message_of(attempt, self.names.requests) for attempt in attempts))

    async def publish(self, *messages: Message) -> None:
        await self.producer.send(messages, SEND_TIMEOUT_S)

    async def fetch(self, sql: str, *parameters: Any) -> list[asyncpg.Record]:
        return await self.pool.fetch(sql, *parameters)

    async def value(self, sql: str, *parameters: Any) -> Any:
        return await self.pool.fetchval(sql, *parameters)

    async def entries(self, count: int) -> list[asyncpg.Record]:
        """The ledger, once it has this many entries."""

        async def found() -> list[asyncpg.Record]:
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
        return await everything(self.settings.kafka_bootstrap, topic)

    async def handled(self, count: int) -> None:
        """Wait until the group has committed this many records."""

        async def done() -> bool:
            return await self.committed() >= count

        await eventually(done, within_s=30)

    async def relayed(self) -> None:
        """Wait until everything is announced, and known to be: a replica that stops earlier announces some twice."""

        async def empty() -> bool:
            return not await self.fetch("SELECT FROM outbox")

        await eventually(empty, within_s=30)

    async def committed(self) -> int:
        """Records that the group has committed."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap, group_id=self.names.group, enable_auto_commit=False
        ) as consumer:
            places = [TopicPartition(self.names.requests, number) for number in range(3)]
            return sum([await consumer.committed(place) or 0 for place in places])
