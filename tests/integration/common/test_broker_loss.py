"""Consumers while the broker is away."""

from pathlib import Path

from farebox.kafka import Producer
from farebox_local.kafka import Kafka
from support.eventually import eventually
from support.group import Group
from support.records import Remembering, digits, numbered
from support.topic import create_topic, create_topics


async def test_consumer_comes_back_by_itself_after_the_broker_was_killed(own_kafka: Kafka) -> None:
    topic = await create_topic(own_kafka.bootstrap, partitions=3)
    handler = Remembering()
    async with Producer(own_kafka.bootstrap, client_id="p") as producer:
        group = Group(own_kafka.bootstrap, topic, producer)
        member = await group.join(handler)
        await producer.send(numbered(topic, 50, keys=9), 20.0)
        await eventually(lambda: handler.has(*digits(50)))
        own_kafka.kill()
        assert member.broker.problems() == []
        own_kafka.start()
        await producer.send(numbered(topic, 50, keys=9, first=50), 60.0)
        await eventually(lambda: handler.has(*digits(100)), within_s=40)
        assert member.broker.problems() == []
        await group.stop()


async def test_consumer_starts_without_kafka_and_joins_when_it_comes(tmp_path: Path) -> None:
    broker = Kafka(tmp_path)
    handler = Remembering()
    async with Producer(broker.bootstrap, client_id="p") as producer:
        group = Group(broker.bootstrap, "later", producer)
        member = await group.join(handler)
        assert (member.broker.problems(), len(member.broker.unready())) == ([], 1)
        broker.start()
        try:
            await create_topics(broker.bootstrap, {"later": 1})
            await producer.send(numbered("later", 3), 20.0)
            await eventually(lambda: handler.has(*digits(3)))
            assert member.broker.unready() == []
            await group.stop()
        finally:
            broker.stop()


async def test_consumer_whose_task_ended_is_a_problem(group: Group, source: str, producer: Producer) -> None:
    handler = Remembering()
    member = await group.join(handler)
    await producer.send(numbered(source, 1), 20.0)
    await eventually(lambda: handler.has(b"0"))
    for task in member.subscription.subscriber.tasks:
        task.cancel()
    await eventually(lambda: member.broker.problems() == [f"consumer {group.id}: its task has ended"])


async def test_consumer_whose_group_protocol_died_is_a_problem(group: Group, source: str, producer: Producer) -> None:
    member = await group.join(Remembering())
    await eventually(lambda: member.partitions == 3)
    member.subscription.subscriber.consumer._coordinator._coordination_task.cancel()
    await eventually(lambda: member.broker.problems() != [])
