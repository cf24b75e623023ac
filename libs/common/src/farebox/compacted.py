"""Repair of a compacted topic: what an older record has taken the place of is published again by its owner.

A producer whose link stalls may deliver an old batch after another replica has published newer state of the same keys.
Readers that saw both keep the newer, by its revision; but Kafka keeps the last, and whoever starts later sees nothing
else. So every owner reads its own topic, and compares each key's last record with its row.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

import structlog
from prometheus_client import Counter, Gauge

from farebox.events import AccountPolicyChanged, CatalogueAsOf, PriceListed, Undecodable, decode
from farebox.kafka import Broadcast, Record
from farebox.kafka.broadcast import Learn
from farebox.outbox import backlog
from farebox.postgres import Pool
from farebox.recurring import Recurring

log = structlog.get_logger()

Order: TypeAlias = tuple[int, ...]
"""Where a record stands among those of its key, as a revision does: the greater is the newer."""

OLDEST: Final[Order] = ()
"""Of a key that is not on the topic, and of a record that says no revision."""

LOOK_EVERY_S: Final = 30.0
PAGE: Final = 1_000

REPUBLISHED: Final = Counter(
    "farebox_compacted_republished", "Records published again because an older one was their key's last.", ["topic"]
)

AHEAD: Final = Gauge(
    "farebox_compacted_ahead", "Keys whose last record is newer than their row: the database was restored.", ["topic"]
)


def by_revision(record: Record) -> Order:
    """The order of records that say a revision, tombstones included."""
    if record.value is None:
        return OLDEST if record.deleted_as_of is None else (record.deleted_as_of,)
    try:
        event = decode(headers=record.headers, value=record.value).event
    except Undecodable:
        return OLDEST
    match event:
        case PriceListed() | CatalogueAsOf() | AccountPolicyChanged():
            return OLDEST if event.revision is None else (event.revision,)
        case _:
            return OLDEST


class LastRecords:
    """The order of every key's last record on a topic. `take` is a handler for `Broadcast`."""

    def __init__(self, order_of: Callable[[Record], Order]) -> None:
        self._order_of = order_of
        self._orders: dict[str, Order] = {}
        self._next_offsets: dict[int, int] = {}
        self._stepped_back: dict[str, Order] = {}

    def take(self, records: Sequence[Record]) -> bool:
        """Whether the last record of any key is now older than one before it.

        Records that come again after a reconnect are left out: they say nothing of what is last.
        """
        for record in records:
            if record.offset >= self._next_offsets.get(record.partition, 0):
                self._next_offsets[record.partition] = record.offset + 1
                self._take((record.key or b"").decode(errors="replace"), self._order_of(record))
        return bool(self._stepped_back)

    def order(self, key: str) -> Order:
        return self._orders.get(key, OLDEST)

    def take_stepped_back(self) -> set[str]:
        """Keys of which an older record came after a newer one, and no newer one since; each is told once."""
        taken, self._stepped_back = self._stepped_back, {}
        return set(taken)

    def _take(self, key: str, order: Order) -> None:
        newest = max(self.order(key), self._stepped_back.get(key, OLDEST))
        if order < newest:
            self._stepped_back[key] = newest
        else:
            self._stepped_back.pop(key, None)
        self._orders[key] = order


class Owner(Protocol):
    """Who has the rows that a topic tells of."""

    async def orders(self, after: str, limit: int) -> Sequence[tuple[str, Order]]:
        """The keys after one of them, sorted, each with the order of its row; without keys never published.

        None at all where rows change that nobody is told of: then only records that came after newer ones are repaired.
        """
        ...

    async def publish_again(self, keys: Sequence[str]) -> None:
        """Put the present state of these keys into the outbox, under the locks that a change of them takes."""
        ...


class CompactedTopic:
    """An owner's topic, read and kept in order. Entering starts it in the background.

    `heard` is given every record; `wake` is called when there is something in the outbox.
    """

    def __init__(
        self,
        name: str,
        owner: Owner,
        order_of: Callable[[Record], Order],
        *,
        pool: Pool,
        bootstrap: str,
        client_id: str,
        wake: Callable[[], None],
        heard: Learn | None = None,
    ) -> None:
        self._name = name
        self._owner = owner
        self._pool = pool
        self._wake = wake
        self._heard = heard
        self._last = LastRecords(order_of)
        self._behind: dict[str, Order] = {}
        self._reader = Broadcast(bootstrap, name, client_id=client_id, handle=self._take)
        self._looking = Recurring(f"repair of {name}", self._look_if_read, every_s=LOOK_EVERY_S)

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        await self._looking.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._looking.__aexit__(kind, error, trace)
        await self._reader.__aexit__(kind, error, trace)

    def problems(self) -> list[str]:
        return self._reader.problems() + self._looking.problems()

    def unready(self) -> list[str]:
        return self._reader.unready()

    async def _take(self, records: Sequence[Record]) -> None:
        if self._last.take(records):
            self._looking.wake()
        if self._heard is not None:
            await self._heard(records)

    async def _look_if_read(self) -> None:
        if self._reader.caught_up.is_set():
            await self.look()

    async def look(self) -> int:
        """Publish again what is overdue; how many keys.

        A key whose last record is older than its row may have the newer one on its way. So it is overdue only if that
        record is older than the row was at the look before, or came after a newer one. While the outbox itself is
        late, nothing is. Raises Transient while the database is away.
        """
        if (await backlog(self._pool)).oldest_age_s > LOOK_EVERY_S:
            return 0
        stepped_back = self._last.take_stepped_back()
        behind = await self._keys_behind()
        overdue = {key for key, order in self._behind.items() if key in behind and self._last.order(key) < order}
        overdue |= stepped_back
        if overdue:
            await self._owner.publish_again(sorted(overdue))
            self._wake()
            REPUBLISHED.labels(self._name).inc(len(overdue))
            log.warning("compacted_records_republished", topic=self._name, keys=len(overdue), first=min(overdue))
        self._behind = {key: order for key, order in behind.items() if key not in overdue}
        return len(overdue)

    async def _keys_behind(self) -> dict[str, Order]:
        behind: dict[str, Order] = {}
        after, ahead = "", 0
        while page := await self._owner.orders(after, PAGE):
            behind |= {key: order for key, order in page if self._last.order(key) < order}
            ahead += sum(self._last.order(key) > order for key, order in page)
            after = page[-1][0]
        AHEAD.labels(self._name).set(ahead)
        return behind
