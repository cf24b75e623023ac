"""Metering's tables. What a batch brings about is one transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import orjson

from farebox import faults
from farebox.ids import instant_of, new_id
from farebox.postgres import Connection, Pool, Queries, session, transaction
from farebox.pricing import PriceRow
from metering import rows
from metering.attempt import Attempt
from metering.booking import Booking, Fresh
from metering.charge import Charged
from metering.draft import Draft, Stored
from metering.errors import BooksClosed, PricesChanged
from metering.explanation import Row
from metering.listing import Listing, read_price
from metering.span import Span
from metering.summary import GROUPS_MAX, By, Sums

_SQL: Final = Queries.load("metering")


Beside: TypeAlias = Callable[[Connection], Awaitable[None]]
"""What else is written in the transaction of a batch."""


async def nothing_beside(_: Connection) -> None:
    """Nothing else."""


class Page(NamedTuple):
    """What settlement did with a page of open attempts. `last` is the id to go on after; None if that was all."""

    settled: int
    last: UUID | None


class Store:
    """All statements of metering. Raises Transient while the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._months: set[datetime] = set()
        self._stored = Stored()

    async def now(self) -> datetime:
        """The database's clock."""
        async with session(self._pool) as connection:
            now: datetime = await connection.fetchval(_SQL["books_now"])
        return now

    # Prices

    async def prices(self) -> tuple[int, list[PriceRow]]:
        """Every override, oldest first, and the revision they amount to."""
        with _in_order():
            async with session(self._pool) as connection:
                found = await connection.fetch(_SQL["prices_all"])
        return (found[-1]["seq"] if found else 0), [read_price(row["price"]) for row in found]

    @asynccontextmanager
    async def changing_prices(self, topic: str) -> AsyncIterator[Listing]:
        """A transaction in which prices are added, while no batch is being priced."""
        async with transaction(self._pool) as connection:
            await connection.execute(_SQL["prices_change"])
            yield Listing(connection, topic)

    @asynccontextmanager
    async def telling_prices(self, topic: str) -> AsyncIterator[Listing]:
        """A transaction in which prices are announced, while none is being added."""
        async with transaction(self._pool) as connection:
            await connection.execute(_SQL["prices_hold"])
            yield Listing(connection, topic)

    async def price_revisions(self, after: str, limit: int) -> list[tuple[str, int]]:
        """A page of models, by their keys on `price.catalogue`, with the revision of each."""
        async with session(self._pool) as connection:
            found = await connection.fetch(_SQL["price_revisions"], after, limit)
        return [(row["key"], row["revision"]) for row in found]

    # The ledger

    async def add_months(self, first: datetime, last: datetime) -> None:
        """Make the ledger's partitions for every UTC month from `first` to `last`."""
        await self._add_missing(_months(first, last))

    async def _add_missing(self, months: Iterable[datetime]) -> None:
        missing = sorted({*months} - self._months)
        if missing:
            with _in_order():
                async with session(self._pool) as connection:
                    for month in missing:
                        await connection.execute(_SQL["entry_add_month"], month)
            self._months.update(missing)

    def draft(self, *, at: datetime, topic: str) -> Draft:
        """An empty batch."""
        return Draft(self._stored, at=at, topic=topic, new_id=new_id)

    async def post(self, draft: Draft, beside: Beside = nothing_beside, *, revision: int) -> Fresh:
        """Write a batch: ledger, rollups, suspense and outbox. What had been posted before has no effect.

        Raises PricesChanged, with nothing written, if the batch was priced with another revision than the newest.
        """
        await self._add_months_of(draft)
        async with self._booking(revision) as booking:
            fresh = await booking.write(draft)
            await beside(booking.connection)
        return fresh

    async def settle(
        self,
        draft: Draft,
        charge: Callable[[Sequence[Attempt]], Charged],
        *,
        revision: int,
        after: UUID,
        attempts_max: int,
    ) -> Page:
        """Charge the suspended attempts after `after`, a page of them, and post those that have a price now.

        Raises PricesChanged as `post` does.
        """
        async with self._booking(revision) as booking:
            claimed = await booking.connection.fetch(_SQL["suspense_claim"], after, attempts_max)
            charged = charge([rows.attempt_of(row["attempt"], row["occurred_at"]) for row in claimed])
            await booking.explain_again(claimed, charged.suspended)
            draft.add(Charged(charged.entries, []))
            await self._add_months_of(draft)
            await booking.write(draft)
        return Page(len(charged.entries), claimed[-1]["attempt_id"] if len(claimed) == attempts_max else None)

    async def suspense_open(self) -> dict[str, int]:
        """How many attempts wait for a price, by reason."""
        async with session(self._pool) as connection:
            return {row["reason"]: row["attempts"] for row in await connection.fetch(_SQL["suspense_open_by_reason"])}

    # Reading

    async def usage(self, accounts: Sequence[str], span: Span) -> tuple[list[Sums], int]:
        """What all of these accounts have on their path adds up to, by currency; and how many attempts are unpriced."""
        async with session(self._pool) as connection:
            found = await connection.fetch(_SQL["usage_sums"], accounts, *_bounds(span), None, None)
            unpriced: int = await connection.fetchval(_SQL["suspense_count"], accounts, span.start, span.end)
        return [_sums(row) for row in found], unpriced

    async def usage_by(self, by: By, accounts: Sequence[str], span: Span) -> list[Sums]:
        """The same by one dimension: for each currency the groups that cost most, one more than an answer shows."""
        async with session(self._pool) as connection:
            if by == "session":
                found = await connection.fetch(_SQL["usage_by_session"], accounts, span.start, span.end, GROUPS_MAX + 1)
            else:
                found = await connection.fetch(_SQL["usage_sums"], accounts, *_bounds(span), by, GROUPS_MAX + 1)
        return [_sums(row) for row in found]

    async def charges(self, request_id: UUID, accounts: Sequence[str]) -> tuple[list[Row], list[Row]]:
        """A request's entries and its suspended attempts, if all of the accounts are on their path."""
        async with session(self._pool) as connection:
            entries = await connection.fetch(_SQL["ledger_of_request"], request_id, accounts)
            waiting = await connection.fetch(_SQL["suspense_of_request"], request_id, accounts)
        return list(map(dict, entries)), list(map(dict, waiting))

    async def list_prices(
        self, provider: str | None, model: str | None, *, after: int, limit: int
    ) -> tuple[list[dict[str, object]], str | None]:
        """Overrides in the order in which they were added, and the cursor of the next page."""
        async with session(self._pool) as connection:
            found = await connection.fetch(_SQL["prices_list"], provider, model, after, limit + 1)
        shown = [
            {**orjson.loads(row["price"]), "created_at": row["created_at"], "ended_at": row["ended_at"]}
            for row in found[:limit]
        ]
        return shown, str(found[limit - 1]["seq"]) if len(found) > limit else None

    async def list_suspense(
        self, *, is_open: bool, after: UUID, limit: int
    ) -> tuple[list[dict[str, object]], str | None]:
        """Suspended attempts in the order of their ids, and the cursor of the next page."""
        async with session(self._pool) as connection:
            found = await connection.fetch(_SQL["suspense_list"], is_open, after, limit + 1)
        return [dict(row) for row in found[:limit]], str(found[limit - 1]["attempt_id"]) if len(found) > limit else None

    @asynccontextmanager
    async def _booking(self, revision: int) -> AsyncIterator[Booking]:
        """A transaction during which prices stand still."""
        try:
            with _in_order():
                async with transaction(self._pool) as connection:
                    await connection.execute(_SQL["prices_hold"])
                    if await connection.fetchval(_SQL["prices_revision"]) != revision:
                        raise PricesChanged("prices were added while the batch was priced")
                    booking = Booking(connection, self._stored)
                    yield booking
                    faults.point("metering.before_commit")
                faults.point("metering.after_commit")
        except BooksClosed:
            self._months.clear()  # it may be a partition that is gone
            raise
        booking.committed()

    async def _add_months_of(self, draft: Draft) -> None:
        """Only those: between a clock that is years behind and one that is years ahead there are many months."""
        if draft.priced:
            first, last = _month(min(draft.priced)), _month(max(draft.priced))
            await self._add_missing([first] if first == last else map(_month, draft.priced))


@contextmanager
def _in_order() -> Iterator[None]:
    """What a constraint refuses is no record's fault here: attempts wait until somebody mends it.

    No check of these tables is about what an attempt says, and a month without its partition is told as a check, too.
    """
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise BooksClosed(f"{type(error).__name__}: {error}") from error


def _sums(row: Any) -> Sums:
    sums = Sums(*row)
    return sums._replace(cost_nano_usd=int(sums.cost_nano_usd), billed_nano=int(sums.billed_nano))


def _bounds(span: Span) -> tuple[datetime, ...]:
    return span.start, span.first_day, span.last_day, span.end


def _month(id_: UUID) -> datetime:
    """The UTC month that an id was made in."""
    return next(_months(at := instant_of(id_), at))


def _months(first: datetime, last: datetime) -> Iterator[datetime]:
    month = first.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month <= last:
        yield month
        month = (month + timedelta(days=32)).replace(day=1)
