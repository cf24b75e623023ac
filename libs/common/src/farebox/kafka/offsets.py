"""A group's offsets beside its effects: what a restored database has forgotten is consumed again.

    offsets = Offsets(pool, "metering")
    subscribe(broker, ..., handle=handler, offsets=offsets)

    async with transaction(pool) as connection:   # in the handler
        ...                                       # the effect
        await offsets.note(connection, records)   # how far it goes

Kafka's committed offsets say what was handled, and the database says what it remembers of that. When partitions are
assigned the group goes on from the smaller of the two; it never goes forward on the database's word, so that the row of
a topic that was deleted and made again leads nowhere. While at work, a database that remembers less than it had
acknowledged (a failover to a server that lagged) is found by the next batch.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from farebox.errors import Transient
from farebox.kafka.record import Record
from farebox.postgres import Connection, Pool, Queries, session

Place: TypeAlias = tuple[str, int]
"""A topic and its partition."""

_SQL: Final = Queries.load("farebox")


class Behind(Transient):
    """The database has forgotten effects that it had acknowledged: the group must go back to them."""

    code = "database_behind"


class Offsets:
    """The rows of one group, and what this process knows to be stored of them."""

    def __init__(self, pool: Pool, group_id: str) -> None:
        self._pool = pool
        self._group_id = group_id
        self._known: dict[Place, int] = {}

    async def note(self, connection: Connection, records: Sequence[Record]) -> None:
        """Store, in the transaction of their effect, that these records are handled. Raises Behind."""
        after = after_all(records)
        if not after:
            return
        topics, partitions = zip(*after, strict=True)
        before = await connection.fetch(_SQL["offsets_note"], self._group_id, topics, partitions, list(after.values()))
        for topic, partition, offset in before:
            if offset < (known := self._known.get((topic, partition), 0)):
                raise Behind(f"{topic}/{partition}: the database remembers {offset} of {known} records")

    async def begin(self, places: Collection[Place]) -> Mapping[Place, int]:
        """Where the effects in the database end, for those of the places where there are any. Raises Transient."""
        async with session(self._pool) as connection:
            rows = await connection.fetch(_SQL["offsets_of_group"], self._group_id)
        stored = {(topic, partition): offset for topic, partition, offset in rows}
        found = {place: stored[place] for place in places if place in stored}
        for place in places:
            self._known.pop(place, None)
        self._known |= found
        return found

    def settle(self, after: Mapping[Place, int]) -> None:
        """The batch that leads to these offsets is committed."""
        self._known |= after


def after_all(records: Sequence[Any]) -> dict[Place, int]:
    """The offset after the last record of each partition; records of a partition are in order."""
    found: dict[Place, int] = {}
    last = None
    for record in records:
        if last is not None and (record.partition != last.partition or record.topic != last.topic):
            found[last.topic, last.partition] = last.offset + 1
        last = record
    if last is not None:
        found[last.topic, last.partition] = last.offset + 1
    return found
