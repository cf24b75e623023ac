from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from farebox_local.kafka import Kafka
from support.topic import create_topics


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Kafka]:
    broker = Kafka(tmp_path)
    broker.start()
    yield broker
    broker.stop()


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value)


async def first_value(bootstrap: str, topic: str) -> bytes | None:
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        record = await consumer.getone()
    value: bytes | None = record.value
    return value


async def test_killed_broker_comes_back_on_its_port_with_its_data(broker: Kafka) -> None:
    await create_topics(broker.bootstrap, {"kept": 1})
    await send(broker.bootstrap, "kept", b"before the crash")
    broker.kill()
    assert not broker.answers()
    broker.start()
    assert await first_value(broker.bootstrap, "kept") == b"before the crash"


async def test_a_new_run_on_the_same_folder_finds_port_and_data(broker: Kafka, tmp_path: Path) -> None:
    await create_topics(broker.bootstrap, {"kept": 1})
    await send(broker.bootstrap, "kept", b"yesterday")
    broker.stop()
    again = Kafka(tmp_path)
    again.start()
    try:
        assert again.bootstrap == broker.bootstrap
        assert await first_value(again.bootstrap, "kept") == b"yesterday"
    finally:
        again.stop()


async def test_an_unknown_topic_is_not_created_by_naming_it(kafka: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, request_timeout_ms=1500) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("misspelt", b"lost?")
