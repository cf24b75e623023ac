"""Delivery, on the real broker: every trap has its guard."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import asyncpg
import pytest
from prometheus_client import generate_latest

from farebox.errors import Transient
from farebox.kafka import Delivery, Message, Producer, Record, Rejected
from farebox.kafka.backoff import Backoff
from farebox.kafka.broker import GRACEFUL_TIMEOUT_S
from farebox.kafka.subscriber import HANDLER_ATTEMPTS
from support.eventually import eventually
from support.group import QUICK, Group
from support.records import (
    Counted,
    Remembering,
    committed,
    digits,
    length,
    numbered,
    publish,
    publish_undecodable,
    read,
)

SEND_S = 20.0


async def test_records_arrive_in_the_order_of_their_partition(group: Group, source: str, producer: Producer) -> None:
    handler = Remembering()
    await group.join(handler)
    await producer.send(numbered(source, 500), SEND_S)
    await eventually(lambda: len(handler.records) == 500)
    assert handler.values == digits(500)


async def test_records_from_before_the_group_existed_are_delivered(
    group: Group, source: str, producer: Producer
) -> None:
    await producer.send(numbered(source, 3), SEND_S)
    handler = Remembering()
    await group.join(handler)
    await eventually(lambda: handler.has(*digits(3)))


async def test_poison_among_good_records_goes_to_the_dead_letters_with_its_reason(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    handler = Remembering(reject=lambda record: record.value == b"{broken")
    await group.join(handler)
    poison = Message(source, b"k", b"{broken", (("ce_id", b"7"), ("odd", None)))
    await producer.send([*numbered(source, 5), poison, *numbered(source, 5, first=5)], SEND_S)
    await eventually(lambda: handler.has(*digits(10)))
    (dead,) = await read(kafka, f"{source}.dead", 1)
    assert (dead.key, dead.value, dead.raw_headers[:2]) == (b"k", b"{broken", poison.headers)
    assert (dead.headers["farebox-dead-reason"], dead.headers["farebox-dead-topic"]) == (b"refused", source.encode())


async def test_rejected_records_are_committed_only_after_their_dead_letters(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    await group.join(Remembering(reject=lambda _: True))
    await producer.send(numbered(source, 4), SEND_S)
    await eventually(_has_committed(kafka, group, source, 4))
    assert len(await read(kafka, f"{source}.dead", 4)) == 4


async def test_null_and_undecodable_header_values_reach_the_handler(group: Group, source: str, kafka: str) -> None:
    handler = Remembering()
    await group.join(handler)
    await publish(kafka, source, b"1", headers=[("null", None), ("latin", b"caf\xe9"), ("reply_to", b"elsewhere")])
    await publish(kafka, source, b"2")
    await eventually(lambda: handler.has(b"1", b"2"))
    assert handler.records[0].headers == {"null": b"", "latin": b"caf\xe9", "reply_to": b"elsewhere"}


async def test_undecodable_header_name_is_stepped_over_and_shown(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    await producer.send(numbered(source, 50, keys=7), SEND_S)
    await publish_undecodable(kafka, source)
    await producer.send(numbered(source, 50, keys=7, first=50), SEND_S)
    handler = Remembering()
    await group.join(handler)
    await eventually(lambda: handler.has(*digits(100)))
    (dead,) = await read(kafka, f"{source}.dead", 1)
    assert (dead.value, dead.headers["farebox-dead-reason"]) == (None, b"unreadable")
    assert len(handler.values) == 100


async def test_tombstone_reaches_the_handler_as_null(group: Group, source: str, kafka: str) -> None:
    handler = Remembering()
    await group.join(handler)
    await publish(kafka, source, None, b"after")
    await eventually(lambda: handler.has(None, b"after"))


async def test_stray_cancel_does_not_end_the_consumer(group: Group, source: str, producer: Producer) -> None:
    cancels = iter([asyncio.CancelledError(), asyncio.CancelledError()])

    def cancel_twice(_: Sequence[Record]) -> None:
        if (cancel := next(cancels, None)) is not None:
            raise cancel

    handler = Remembering(fault=cancel_twice)
    member = await group.join(handler)
    await producer.send(numbered(source, 3), SEND_S)
    await eventually(lambda: handler.values == digits(3))
    assert member.broker.problems() == []


async def test_transient_fault_is_retried_until_it_is_over_and_nothing_dies(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    faults = iter([Transient("away")] * 6)

    def fail(_: Sequence[Record]) -> None:
        if (fault := next(faults, None)) is not None:
            raise fault

    handler = Remembering(fault=fail)
    await group.join(handler)
    await producer.send(numbered(source, 3), SEND_S)
    await eventually(lambda: handler.values == digits(3))
    await eventually(_has_committed(kafka, group, source, 3))


async def test_permanent_handler_error_isolates_the_one_record(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    def choke(records: Sequence[Record]) -> None:
        if any(record.value == b"13" for record in records):
            raise ZeroDivisionError("thirteen")

    handler = Remembering(fault=choke)
    await group.join(handler)
    await producer.send(numbered(source, 40, keys=6), SEND_S)
    await eventually(lambda: handler.has(*(value for value in digits(40) if value != b"13")))
    (dead,) = await read(kafka, f"{source}.dead", 1)
    assert (dead.value, dead.headers["farebox-dead-reason"]) == (b"13", b"handler_error")
    assert b"thirteen" in dead.headers["farebox-dead-detail"]


@pytest.mark.parametrize("count", [1, 4])
async def test_records_of_which_none_passes_are_held_and_not_buried(
    group: Group, source: str, producer: Producer, kafka: str, count: int
) -> None:
    migrated = asyncio.Event()

    def fail_until_migrated(_: Sequence[Record]) -> None:
        if not migrated.is_set():
            raise ZeroDivisionError("the column is not there yet")

    handler = Counted(Remembering(fault=fail_until_migrated))
    await producer.send(numbered(source, count), SEND_S)
    member = await group.join(handler)
    await eventually(lambda: handler.calls > 30)
    assert "ZeroDivisionError" in member.broker.unready()[0]
    migrated.set()
    await eventually(_has_committed(kafka, group, source, count))
    assert member.broker.unready() == []
    assert await length(kafka, f"{source}.dead") == 0


async def test_record_that_fails_alone_is_buried_when_its_time_is_over(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    def choke(_: Sequence[Record]) -> None:
        raise ZeroDivisionError

    handler = Counted(Remembering(fault=choke))
    await producer.send(numbered(source, 1), SEND_S)
    await group.join(handler, delivery=replace(QUICK, alone_tries=HANDLER_ATTEMPTS + 2))
    await eventually(_has_committed(kafka, group, source, 1))
    assert (await length(kafka, f"{source}.dead"), handler.calls) == (1, HANDLER_ATTEMPTS + 3)


async def test_records_that_failed_until_others_passed_are_tried_once_more(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    alone: list[bytes | None] = []

    def fail_until_all_were_alone(records: Sequence[Record]) -> None:
        if len(records) > 1:
            raise ZeroDivisionError("the column is not there yet")
        alone.append(records[0].value)
        if alone.count(b"0") < 2 and records[0].value == b"0":
            raise ZeroDivisionError("the column was not there yet")

    handler = Remembering(fault=fail_until_all_were_alone)
    await producer.send(numbered(source, 2), SEND_S)
    await group.join(handler)
    await eventually(_has_committed(kafka, group, source, 2))
    assert (set(handler.values), await length(kafka, f"{source}.dead")) == ({b"0", b"1"}, 0)


async def test_value_that_the_database_refuses_is_buried_when_others_pass(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    def refuse(records: Sequence[Record]) -> None:
        if any(record.value == b"3" for record in records):
            raise asyncpg.CharacterNotInRepertoireError("a NUL")

    handler = Remembering(fault=refuse)
    await producer.send(numbered(source, 9), SEND_S)
    await group.join(handler)
    (dead,) = await read(kafka, f"{source}.dead", 1)
    assert (dead.value, dead.headers["farebox-dead-reason"]) == (b"3", b"data_error")


async def test_handler_that_hangs_is_ended_and_tried_again(group: Group, source: str, producer: Producer) -> None:
    tries: list[int] = []

    async def hang_once(records: Sequence[Record]) -> Sequence[Rejected]:
        tries.append(len(records))
        if len(tries) == 1:
            await asyncio.Event().wait()
        return []

    await group.join(hang_once, delivery=Delivery(poll_ms=20, handler_timeout_s=0.2, retry=QUICK.retry))
    await producer.send(numbered(source, 1), SEND_S)
    await eventually(lambda: len(tries) == 2)


async def test_stop_finishes_and_commits_the_batch_in_hand(
    group: Group, source: str, producer: Producer, kafka: str
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Sequence[Record]) -> Sequence[Rejected]:
        begun.set()
        await go_on.wait()
        return []

    member = await group.join(slow)
    await producer.send(numbered(source, 1), SEND_S)
    await begun.wait()
    stopping = asyncio.create_task(member.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert await committed(kafka, group.id, source, 3) == 1


async def test_stop_does_not_wait_for_a_backoff(group: Group, source: str, producer: Producer) -> None:
    calls = asyncio.Event()

    def away(_: Sequence[Record]) -> None:
        calls.set()
        raise Transient("away")

    member = await group.join(Remembering(fault=away), delivery=Delivery(retry=Backoff(base_s=900.0, cap_s=900.0)))
    await producer.send(numbered(source, 1), SEND_S)
    await calls.wait()
    async with asyncio.timeout(GRACEFUL_TIMEOUT_S / 2):
        await member.stop()


async def test_lag_tells_what_is_not_handled_yet(group: Group, source: str, producer: Producer) -> None:
    go_on = asyncio.Event()

    async def wait(_: Sequence[Record]) -> Sequence[Rejected]:
        await go_on.wait()
        return []

    member = await group.join(wait)
    await producer.send(numbered(source, 7), SEND_S)
    await eventually(lambda: sum(member.subscription.lag().values()) == 7)
    assert f'farebox_kafka_lag_records{{group="{group.id}"' in generate_latest().decode()
    go_on.set()
    await eventually(lambda: sum(member.subscription.lag().values()) == 0)


def _has_committed(bootstrap: str, group: Group, topic: str, records: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await committed(bootstrap, group.id, topic, 3) == records

    return check
