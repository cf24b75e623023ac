"""Records put where and when a test says."""

from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaProducer

from farebox.kafka import Message


@pytest.fixture
def put(kafka: str) -> Callable[..., Awaitable[None]]:
    """`await put(*messages, partition=1, moment_ms=…)`, in this order, with a client that is not ours."""

    async def send(*messages: Message, partition: int = 0, moment_ms: int | None = None) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
            for each in messages:
                place = {"partition": partition, "timestamp_ms": moment_ms}
                await producer.send_and_wait(each.topic, each.value, each.key, headers=list(each.headers), **place)

    return send
