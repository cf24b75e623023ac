"""Topics of a test's own on the shared broker."""

import contextlib
import uuid

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError


async def create_topic(bootstrap: str, name: str = "test", *, partitions: int = 1, compacted: bool = False) -> str:
    """Create a topic that no other test uses, named `<name>.<random>`; returns its name."""
    topic = f"{name}.{uuid.uuid4().hex[:12]}"
    await create_topics(bootstrap, {topic: partitions}, compacted=compacted)
    return topic


async def create_topics(bootstrap: str, partitions: dict[str, int], *, compacted: bool = False) -> None:
    """Create topics with these names and partition counts."""
    settings = {"cleanup.policy": "compact"} if compacted else {}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, count, 1, topic_configs=settings) for name, count in partitions.items()]
        )
    finally:
        await admin.close()


async def delete_before(bootstrap: str, topic: str, offset: int) -> None:
    """Let the oldest records of whichever partition has so many be gone, as when their time is over."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        for partition in range(3):
            with contextlib.suppress(OffsetOutOfRangeError):
                await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()
