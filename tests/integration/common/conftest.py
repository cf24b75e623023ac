"""A producer, a topic with dead letters, and a group whose members stop with the test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from farebox.kafka import Producer
from farebox_local.kafka import Kafka
from support.eventually import eventually
from support.group import Group, grouped
from support.topic import create_topics


@pytest.fixture(scope="session")
def own_kafka(server_folder: Path) -> Iterator[Kafka]:
    """A broker that a test may kill, and starts again."""
    broker = Kafka(server_folder / "killable")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
async def source(kafka: str, topic: Callable[..., Awaitable[str]]) -> str:
    """A topic of three partitions, with its dead-letter topic."""
    name = await topic("source", partitions=3)
    await create_topics(kafka, {f"{name}.dead": 1})
    return name


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[Producer]:
    async with Producer(kafka, client_id="test") as producer:
        await eventually(lambda: producer.connected)
        yield producer


@pytest.fixture
async def group(kafka: str, source: str, producer: Producer) -> AsyncIterator[Group]:
    async with grouped(kafka, source, producer) as group:
        yield group
