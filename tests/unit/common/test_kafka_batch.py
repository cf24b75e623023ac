from collections import defaultdict

from aiokafka.partitioner import DefaultPartitioner
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from farebox.kafka import Message
from farebox.kafka.batch import BATCH_BYTES_MAX, Batch, arrange, pack, unpack

MESSAGES = st.lists(
    st.builds(
        Message,
        topic=st.sampled_from(["a", "b"]),
        key=st.none() | st.binary(max_size=12),
        value=st.none() | st.binary(max_size=50),
        headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3).map(tuple),
    ),
    max_size=60,
)
PARTITIONS = {"a": 3, "b": 1}


def by_key(messages: list[Message]) -> dict[tuple[str, bytes | None], list[Message]]:
    keys: dict[tuple[str, bytes | None], list[Message]] = defaultdict(list)
    for message in messages:
        keys[message.topic, message.key].append(message)
    return keys


def relaid(batches: list[Batch], partitions: dict[str, int]) -> list[Message]:
    lanes = arrange(batches, partitions)
    return [
        message
        for (topic, partition), builders in lanes.items()
        for builder in builders
        for message in unpack(
            Batch(topic, partition, partitions[topic], builder.record_count(), bytes(builder._build()))
        )
    ]


@given(messages=MESSAGES)
def test_messages_come_out_as_they_went_in_in_the_order_of_their_key(messages: list[Message]) -> None:
    out = [message for batch in pack(messages, PARTITIONS) for message in unpack(batch)]
    assert by_key(out) == by_key(messages)


@given(messages=MESSAGES)
def test_batches_made_for_other_partitions_are_laid_again_in_order(messages: list[Message]) -> None:
    assert by_key(relaid(pack(messages, {"a": 1, "b": 5}), PARTITIONS)) == by_key(messages)


@given(key=st.binary(max_size=40), partitions=st.integers(1, 50))
def test_a_key_goes_where_every_kafka_client_sends_it(key: bytes, partitions: int) -> None:
    every = list(range(partitions))
    (batch,) = pack([Message("a", key, b"")], {"a": partitions})
    assert batch.partition == DefaultPartitioner()(key, every, every)


def test_full_batches_are_followed_by_others() -> None:
    batches = pack([Message("a", b"key", b"x" * 300_000)] * 7, {"a": 1})
    assert [batch.messages for batch in batches] == [2, 2, 2, 1]
    assert all(len(batch.data) <= BATCH_BYTES_MAX for batch in batches)


def test_a_message_larger_than_a_batch_travels_alone() -> None:
    batches = pack([Message("a", b"key", b"x" * size) for size in (1, BATCH_BYTES_MAX + 1, 1)], {"a": 1})
    assert [batch.messages for batch in batches] == [1, 1, 1]


def test_large_batches_travel_as_they_are_with_the_producers_mark_and_a_checksum_that_fits() -> None:
    (packed,) = pack([Message("a", b"key", b"%d" % n) for n in range(200)], {"a": 1})
    (sealed,) = arrange([packed], {"a": 1})["a", 0]
    sealed._set_producer_state(7, 2, 41)
    batch = MemoryRecords(bytes(sealed._build())).next_batch()
    assert batch is not None
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 2, 41)


def test_what_comes_after_a_sealed_batch_stays_after_it() -> None:
    first = pack([Message("a", b"key", b"%d" % n) for n in range(150)], {"a": 1})
    second = pack([Message("a", b"key", b"%d" % n) for n in range(150, 153)], {"a": 1})
    assert [message.value for message in relaid([*first, *second, *first], {"a": 1})] == [
        b"%d" % n for n in [*range(153), *range(150)]
    ]
