"""Topics of a test's own on the shared broker."""

import uuid

from aiokafka.admin import AIOKafkaAdminClient, NewTopic


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
