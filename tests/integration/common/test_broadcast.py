"""Compacted topics, read by every process from the beginning."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from farebox.kafka import Broadcast, Message, Producer, Record
from farebox_local.kafka import Kafka
from support.eventually import eventually
from support.records import numbered, publish_undecodable
from support.topic import create_topic, create_topics


class Newest:
    """The newest value of each key; refuses what is no number."""

    def __init__(self) -> None:
        self.by_key: dict[bytes | None, int] = {}
        self.taken = 0

    async def __call__(self, records: Sequence[Record]) -> None:
        numbers = [(record.key, int(record.value or b"0")) for record in records]
        self.by_key |= dict(numbers)
        self.taken += len(numbers)


async def test_every_reader_has_the_newest_of_each_key_once_caught_up(
    topic: Callable[..., Awaitable[str]], kafka: str, producer: Producer
) -> None:
    prices = await topic("prices", partitions=2, compacted=True)
    await producer.send(numbered(prices, 100, keys=10), 20.0)
    first, second = Newest(), Newest()
    async with (
        Broadcast(kafka, prices, client_id="a", handle=first) as one,
        Broadcast(kafka, prices, client_id="b", handle=second) as two,
    ):
        await one.caught_up.wait()
        await two.caught_up.wait()
        assert first.by_key == second.by_key == {b"key-%d" % n: 90 + n for n in range(10)}
        await producer.send([Message(prices, b"key-3", b"1000")], 20.0)
        await eventually(lambda: first.by_key[b"key-3"] == second.by_key[b"key-3"] == 1000)


async def test_empty_topic_is_caught_up_at_once(topic: Callable[..., Awaitable[str]], kafka: str) -> None:
    async with Broadcast(kafka, await topic(compacted=True), client_id="a", handle=Newest()) as reader:
        await reader.caught_up.wait()
        assert (reader.problems(), reader.unready()) == ([], [])


async def test_what_cannot_be_read_is_skipped_and_the_rest_goes_on(
    topic: Callable[..., Awaitable[str]], kafka: str, producer: Producer
) -> None:
    prices = await topic("prices", compacted=True)
    await producer.send([*numbered(prices, 5), Message(prices, b"bad", b"no number")], 20.0)
    await publish_undecodable(kafka, prices)
    await producer.send(numbered(prices, 5, keys=5, first=5), 20.0)
    newest = Newest()
    async with Broadcast(kafka, prices, client_id="a", handle=newest) as reader:
        await reader.caught_up.wait()
        assert newest.by_key == {b"key-%d" % n: 5 + n for n in range(5)}


async def test_reader_starts_without_kafka(tmp_path: Path) -> None:
    broker = Kafka(tmp_path)
    async with Broadcast(broker.bootstrap, "prices", client_id="early", handle=Newest()) as reader:
        assert (reader.problems(), len(reader.unready())) == ([], 1)
        broker.start()
        try:
            await create_topics(broker.bootstrap, {"prices": 1}, compacted=True)
            await eventually(reader.caught_up.is_set)
        finally:
            broker.stop()


async def test_reader_goes_on_after_the_broker_was_killed(own_kafka: Kafka) -> None:
    prices = await create_topic(own_kafka.bootstrap, "prices", compacted=True)
    newest = Newest()
    async with (
        Producer(own_kafka.bootstrap, client_id="p") as producer,
        Broadcast(own_kafka.bootstrap, prices, client_id="a", handle=newest) as reader,
    ):
        await producer.send(numbered(prices, 3), 20.0)
        await eventually(lambda: newest.by_key == {b"key-0": 2})
        own_kafka.kill()
        own_kafka.start()
        await producer.send(numbered(prices, 1, first=7), 60.0)
        await eventually(lambda: newest.by_key == {b"key-0": 7})
        assert reader.problems() == []
