"""The producer on the real broker, also while it is not there."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner

from farebox.kafka import Message, MessageTooLarge, Producer, Undelivered
from farebox.kafka.producer import MESSAGE_BYTES_MAX
from farebox_local.kafka import Kafka
from support.eventually import eventually
from support.records import digits, numbered, read
from support.topic import create_topic, create_topics


async def test_messages_of_a_key_keep_their_order_over_many_batches(
    producer: Producer, kafka: str, source: str
) -> None:
    padding = (("padding", b"x" * 20_000),)
    await producer.send([Message(source, b"key", b"%d" % n, padding) for n in range(200)], 20.0)
    assert [record.value for record in await read(kafka, source, 200)] == digits(200)


async def test_calls_keep_their_order(producer: Producer, kafka: str, source: str) -> None:
    await asyncio.gather(*(producer.send([Message(source, b"key", b"%d" % n)], 20.0) for n in range(300)))
    assert [record.value for record in await read(kafka, source, 300)] == digits(300)


async def test_keys_go_to_the_partitions_that_every_kafka_client_chooses(
    producer: Producer, kafka: str, source: str
) -> None:
    keys = (b"", b"a", b"abc", b"user-17", b"\xff\x80")
    await producer.send([Message(source, key, None) for key in keys], 20.0)
    places = {record.key: record.partition for record in await read(kafka, source, 5)}
    assert places == {key: DefaultPartitioner()(key, [0, 1, 2], [0, 1, 2]) for key in keys}


async def test_message_over_the_limit_is_named_and_nothing_is_sent(producer: Producer, kafka: str, source: str) -> None:
    large = Message(source, b"key", b"x" * MESSAGE_BYTES_MAX)
    with pytest.raises(MessageTooLarge) as refused:
        await producer.send([Message(source, b"key", b"0"), large], 20.0)
    assert refused.value.messages == (large,)
    await producer.send([Message(source, b"key", b"1")], 20.0)
    assert [record.value for record in await read(kafka, source, 1)] == [b"1"]


async def test_message_at_the_limit_is_taken(producer: Producer, kafka: str, source: str) -> None:
    await producer.send([Message(source, b"key", b"x" * (MESSAGE_BYTES_MAX - 200))] * 3, 20.0)
    assert len(await read(kafka, source, 3)) == 3


async def test_unknown_topic_is_undelivered_and_disturbs_nobody(producer: Producer, kafka: str, source: str) -> None:
    async def misspelt() -> None:
        with pytest.raises(Undelivered):
            await producer.send([Message("misspelt", b"key", b"0")], 2.0)

    await asyncio.gather(misspelt(), producer.send(numbered(source, 10), 2.0))
    assert len(await read(kafka, source, 10)) == 10


async def test_starts_without_kafka_and_connects_when_it_comes(tmp_path: Path) -> None:
    broker = Kafka(tmp_path)
    async with Producer(broker.bootstrap, client_id="early") as producer:
        with pytest.raises(Undelivered):
            await producer.send([Message("later", b"key", b"0")], 0.2)
        assert (producer.connected, producer.problems()) == (False, [])
        broker.start()
        try:
            await create_topics(broker.bootstrap, {"later": 1})
            await producer.send([Message("later", b"key", b"1")], 20.0)
            assert [record.value for record in await read(broker.bootstrap, "later", 1)] == [b"1"]
        finally:
            broker.stop()


async def test_broker_killed_and_restarted_under_sends_loses_and_doubles_nothing(own_kafka: Kafka) -> None:
    topic = await create_topic(own_kafka.bootstrap, partitions=3)
    async with Producer(own_kafka.bootstrap, client_id="steady") as producer:
        await producer.send(numbered(topic, 100, keys=7), 20.0)
        own_kafka.kill()
        sending = [
            asyncio.create_task(producer.send(numbered(topic, 10, keys=7, first=100 + 10 * n), 60.0)) for n in range(50)
        ]
        own_kafka.start()
        await asyncio.gather(*sending)
        values = [record.value for record in await read(own_kafka.bootstrap, topic, 600)]
    assert len(values) == len(set(values) & set(digits(600))) == 600


async def test_call_that_timed_out_is_not_sent_once_more_for_every_attempt(own_kafka: Kafka) -> None:
    topic = await create_topic(own_kafka.bootstrap)
    async with Producer(own_kafka.bootstrap, client_id="again") as producer:
        await producer.send([Message(topic, b"key", b"0")], 20.0)
        own_kafka.kill()
        for _ in range(5):
            with pytest.raises(Undelivered):
                await producer.send([Message(topic, b"key", b"1")], 0.2)
        own_kafka.start()
        await producer.send([Message(topic, b"key", b"2")], 60.0)
        values = [record.value for record in await read(own_kafka.bootstrap, topic, 3)]
    assert values == [b"0", b"1", b"2"]


async def test_producer_whose_sequence_has_a_hole_is_replaced(producer: Producer, kafka: str, source: str) -> None:
    await producer.send(numbered(source, 1), 20.0)
    for partition in range(3):  # as after a batch that the broker refused (aiokafka #1017)
        producer._client._txn_manager._sequence_numbers[source, partition] += 5
    with pytest.raises(Undelivered):
        await producer.send(numbered(source, 3, keys=3), 20.0)
    await producer.send(numbered(source, 3, keys=3), 20.0)
    assert producer.problems() == []


async def test_producer_that_hangs_is_replaced(own_kafka: Kafka) -> None:
    topic = await create_topic(own_kafka.bootstrap)
    async with Producer(own_kafka.bootstrap, client_id="stuck", stuck_after_s=0.5) as producer:
        await producer.send([Message(topic, b"key", b"0")], 20.0)
        hung = producer._client
        hung._message_accumulator.drain_by_nodes = lambda **_: ({}, False)
        with pytest.raises(Undelivered):
            await producer.send([Message(topic, b"key", b"1")], 20.0)
        await eventually(lambda: producer._client not in (None, hung))
        await producer.send([Message(topic, b"key", b"2")], 20.0)
