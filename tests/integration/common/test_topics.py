"""What topics do with records of machines whose clocks are off."""

from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from farebox import topics


@pytest.mark.parametrize("off", [timedelta(days=2), timedelta(days=-400)])
async def test_a_record_of_a_machine_whose_clock_is_off_is_taken_and_kept_by_the_brokers_clock(
    kafka: str, off: timedelta
) -> None:
    """Kafka refuses what comes from the future, and deletes by its age what comes from the past."""
    await topics.create(kafka, replication=1)
    began = datetime.now(UTC)
    topic = topics.USAGE_ANOMALY.name
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        sent = await producer.send_and_wait(topic, b"?", timestamp_ms=int((began + off).timestamp() * 1000))
    async with AIOKafkaConsumer(bootstrap_servers=kafka) as consumer:
        place = TopicPartition(topic, sent.partition)
        consumer.assign([place])
        consumer.seek(place, sent.offset)
        record = await consumer.getone()
    assert abs(datetime.fromtimestamp(record.timestamp / 1000, UTC) - began) < timedelta(hours=1)
