"""Members come and go while batches are in flight."""

import asyncio
from collections.abc import Sequence

from farebox.kafka import Producer, Record, Rejected
from support.eventually import eventually
from support.group import Group
from support.records import Remembering, digits, numbered


async def test_member_joining_with_a_batch_in_flight_loses_nothing_and_doubles_nothing(
    group: Group, source: str, producer: Producer
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    seen: list[bytes | None] = []

    async def held(records: Sequence[Record]) -> Sequence[Rejected]:
        begun.set()
        await go_on.wait()
        seen.extend(record.value for record in records)
        return []

    first = await group.join(held)
    await producer.send(numbered(source, 300, keys=30), 20.0)
    await begun.wait()
    handler = Remembering()
    second = await group.join(handler)
    await eventually(lambda: first.subscription.unready() != [])  # its partitions are being taken back
    go_on.set()
    await eventually(lambda: second.partitions > 0)
    await producer.send(numbered(source, 300, keys=30, first=300), 20.0)
    await eventually(lambda: {*seen, *handler.values} >= {*digits(600)})
    assert len(seen) + len(handler.values) == 600


async def test_backoff_is_cut_short_by_a_rebalance(group: Group, source: str, producer: Producer) -> None:
    handler = Remembering()

    async def away(_: Sequence[Record]) -> Sequence[Rejected]:
        raise OSError("database away")

    first = await group.join(away)
    await producer.send(numbered(source, 30, keys=10), 20.0)
    await eventually(lambda: first.partitions == 3)
    second = await group.join(handler)
    await eventually(lambda: 0 < second.partitions < 3)
    await first.stop()
    await eventually(lambda: handler.has(*digits(30)))
