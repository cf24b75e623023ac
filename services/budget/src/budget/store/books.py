"""Windows, leases, postings and marks as rows. Rows are locked in (budget_id, window_start) order, always."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from budget.alerts.occurrences import Crossing, Noted, Notes, Occurrence
from budget.budgets.rules import Window
from budget.budgets.windows import Span
from budget.shares.rules import Room, ShareState, WindowKey
from budget.shares.silence import Sign
from farebox.errors import NotFound
from farebox.postgres import Connection

LIVE_WITHIN = timedelta(seconds=10)
"""A gateway whose last heartbeat is older, by PostgreSQL's clock, does not count when a remainder is shared out, and is
not asked to give back."""


LOST_BATCH = 500
"""Leases put into suspense in one transaction."""


@dataclass(frozen=True, slots=True)
class SuspendedShare:
    """A lost gateway's lease in one budget window: what nobody knows to be unspent."""

    lease_id: UUID
    gateway_id: str
    epoch: int
    key_id: str
    granted_at: datetime
    suspended_at: datetime
    budget_id: UUID
    budget_name: str
    currency: str | None
    window_start: datetime
    held: int


class Posted(NamedTuple):
    """What is posted in a window of a budget, and since when there is that budget."""

    name: str
    amount: int
    created_at: datetime


class Books:
    """The figures, inside one transaction."""

    def __init__(self, connection: Connection, queries: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = queries

    # Windows

    async def open(self, spans: Mapping[WindowKey, Span]) -> None:
        """Make the rows of windows that are new, under their budget's present limit."""
        if not spans:
            return
        keys = sorted(spans)
        await self._connection.execute(self._sql["windows_open"], *_columns(keys), [spans[key].end for key in keys])

    async def lock(self, keys: Collection[WindowKey]) -> dict[WindowKey, Window]:
        """Windows that exist, locked until the transaction ends."""
        rows = await self._connection.fetch(self._sql["windows_for_update"], *_columns(sorted(keys)))
        return {(row["budget_id"], row["window_start"]): _window(row) for row in rows}

    async def read(self, keys: Collection[WindowKey]) -> dict[WindowKey, Window]:
        """Windows that exist, without a lock."""
        rows = await self._connection.fetch(self._sql["windows"], *_columns(list(keys)))
        return {(row["budget_id"], row["window_start"]): _window(row) for row in rows}

    async def current(self, budget_id: UUID, now: datetime) -> list[WindowKey]:
        """Windows of a budget that have not ended."""
        rows = await self._connection.fetch(self._sql["windows_since"], budget_id, now)
        return [(row["budget_id"], row["window_start"]) for row in rows]

    async def save(self, windows: Mapping[WindowKey, Window]) -> None:
        """Write locked windows back. The table's CHECK judges the limit once more."""
        if not windows:
            return
        keys = sorted(windows)
        rooms = [windows[key].room for key in keys]
        await self._connection.execute(
            self._sql["windows_update"],
            *_columns(keys),
            [room.posted for room in rooms],
            [room.escrowed for room in rooms],
            [room.suspended for room in rooms],
            [room.limit for room in rooms],
            [windows[key].limit_revision for key in keys],
            [room.is_hard for room in rooms],
            [room.is_over for room in rooms],
            [windows[key].revision for key in keys],
        )

    # Gateways and leases

    async def start_gateway(self, gateway_id: str) -> int:
        """Begin the gateway's next epoch, from 1."""
        epoch: int = await self._connection.fetchval(self._sql["gateway_start"], gateway_id)
        return epoch

    async def epoch(self, gateway_id: str) -> tuple[int | None, int]:
        """The gateway's newest epoch, held until the transaction ends, None for one that never started; and how many
        gateways live."""
        row = await self._connection.fetchrow(self._sql["gateway_epoch"], gateway_id, LIVE_WITHIN)
        return (row["epoch"], row["live"]) if row else (None, 0)

    async def seen(self, gateway_id: str) -> int | None:
        """As `epoch`, and notes that the gateway lives."""
        epoch: int | None = await self._connection.fetchval(self._sql["gateway_seen"], gateway_id)
        return epoch

    async def signs_of_life(self) -> dict[str, Sign]:
        """The newest of every gateway."""
        rows = await self._connection.fetch(self._sql["gateways"])
        return {row["gateway_id"]: (row["epoch"], row["seen_at"]) for row in rows}

    async def add_lease(
        self, lease_id: UUID, gateway_id: str, epoch: int, key_id: str, amounts: Mapping[WindowKey, int], now: datetime
    ) -> bool:
        """False if there is a lease of that id: the request was repeated."""
        held = (*_columns(list(amounts)), list(amounts.values()))
        made = await self._connection.fetchval(
            self._sql["lease_insert"], lease_id, gateway_id, epoch, key_id, now, *held
        )
        return made is not None

    async def shares(self, lease_ids: Collection[UUID]) -> dict[UUID, dict[UUID, ShareState]]:
        """By lease id and budget id."""
        rows = await self._connection.fetch(self._sql["shares_of"], list(lease_ids))
        return _by_lease(rows)

    async def shares_before(self, gateway_id: str, epoch: int) -> dict[UUID, dict[UUID, ShareState]]:
        """Shares that earlier epochs of a gateway still hold."""
        rows = await self._connection.fetch(self._sql["shares_of_gateway"], gateway_id, epoch)
        return _by_lease(rows)

    async def save_shares(self, shares: Sequence[ShareState]) -> None:
        if not shares:
            return
        await self._connection.execute(
            self._sql["shares_update"],
            [share.lease_id for share in shares],
            [share.key[0] for share in shares],
            [share.posted for share in shares],
            [share.returned for share in shares],
            [share.spent for share in shares],
        )

    async def recall(self, key: WindowKey, gateway_id: str, now: datetime) -> bool:
        """Ask the other live gateways for what they hold of a window; whether any holds something."""
        status = await self._connection.execute(self._sql["leases_recall"], *key, gateway_id, now, LIVE_WITHIN)
        return not status.endswith(" 0")

    async def recalled(self, gateway_id: str, epoch: int) -> tuple[UUID, ...]:
        """The leases a gateway is asked for, told once."""
        rows = await self._connection.fetch(self._sql["leases_recalled"], gateway_id, epoch)
        return tuple(row["lease_id"] for row in rows)

    async def suspend(self, lease_ids: Collection[UUID], now: datetime) -> None:
        await self._connection.execute(self._sql["leases_suspend"], list(lease_ids), now)

    async def lost(self, silent: Mapping[str, Sign]) -> set[UUID]:
        """Leases, not in suspense yet, of gateways of which these are still the last signs of life; a batch of them."""
        if not silent:
            return set()
        epochs, seen_at = [epoch for epoch, _ in silent.values()], [at for _, at in silent.values()]
        rows = await self._connection.fetch(self._sql["leases_of_the_lost"], list(silent), epochs, seen_at, LOST_BATCH)
        return {row["lease_id"] for row in rows}

    async def suspended(self, limit: int) -> list[SuspendedShare]:
        """What is counted as spent because a gateway was lost."""
        rows = await self._connection.fetch(self._sql["leases_suspended"], limit)
        return [SuspendedShare(**(dict(row) | {"held": int(row["held"])})) for row in rows]

    async def note_release(self, lease_id: UUID, now: datetime, note: str) -> None:
        """Raises NotFound unless the lease is in suspense."""
        if await self._connection.fetchval(self._sql["lease_release"], lease_id, now, note) is None:
            raise NotFound(f"no lease {lease_id} is in suspense")

    # Postings and marks

    async def first_seen(self, entry_ids: Collection[UUID]) -> set[UUID]:
        """Note ledger entries as posted; which of them had not been."""
        rows = await self._connection.fetch(self._sql["postings_insert"], list(entry_ids))
        return {row["entry_id"] for row in rows}

    async def noted(self, keys: Collection[WindowKey]) -> dict[WindowKey, Notes]:
        """What is noted of marks, by window."""
        found: dict[WindowKey, dict[str, Noted]] = {}
        for row in await self._connection.fetch(self._sql["crossings_noted"], *_columns(list(keys))):
            found.setdefault((row["budget_id"], row["window_start"]), {})[row["mark"]] = _noted(row)
        return dict(found)

    async def end_crossings(self, marks: Collection[tuple[WindowKey, str]], now: datetime) -> None:
        """Whatever is open of these marks is over."""
        keys = _columns([key for key, _ in marks])
        await self._connection.execute(self._sql["crossings_end"], *keys, [mark for _, mark in marks], now)

    async def add_crossings(self, crossings: Sequence[Crossing]) -> set[UUID]:
        """Note occurrences; the event ids of those that nobody had noted."""
        occurrences = [each.occurrence for each in crossings]
        rows = await self._connection.fetch(
            self._sql["crossings_insert"],
            *_columns([each.key for each in crossings]),
            [each.limit_revision for each in occurrences],
            [each.mark_id for each in crossings],
            [each.number for each in occurrences],
            [each.event_id for each in crossings],
            [each.crossed_at for each in crossings],
            [each.resolved_at for each in crossings],
            [each.provisional for each in occurrences],
            [each.notify_people for each in occurrences],
        )
        return {row["event_id"] for row in rows}

    # Audits

    async def audit_windows(self) -> dict[WindowKey, Posted]:
        """Every window there is."""
        rows = await self._connection.fetch(self._sql["audit_windows"])
        return {
            (row["budget_id"], row["window_start"]): Posted(row["name"], int(row["posted"]), row["created_at"])
            for row in rows
        }

    async def audit_posted(self, entry_ids: Collection[UUID]) -> set[UUID]:
        """Those of the entries that were posted, each the first time it is asked for."""
        rows = await self._connection.fetch(self._sql["audit_posted"], list(entry_ids))
        return {row["entry_id"] for row in rows}


def _columns(keys: Sequence[WindowKey]) -> tuple[list[UUID], list[datetime]]:
    return [key[0] for key in keys], [key[1] for key in keys]


def _by_lease(rows: Sequence[asyncpg.Record]) -> dict[UUID, dict[UUID, ShareState]]:
    found: dict[UUID, dict[UUID, ShareState]] = {}
    for row in rows:
        found.setdefault(row["lease_id"], {})[row["budget_id"]] = ShareState(
            lease_id=row["lease_id"],
            key=(row["budget_id"], row["window_start"]),
            granted=int(row["granted"]),
            posted=int(row["posted"]),
            returned=int(row["returned"]),
            spent=int(row["spent"]),
            is_suspended=row["is_suspended"],
        )
    return found


def _noted(row: asyncpg.Record) -> Noted:
    """The row has the open occurrence, or the newest of those that are over."""
    found = Occurrence(row["occurrence"], row["limit_revision"], row["provisional"], row["notify_people"])
    return Noted(row["newest"], None if row["is_over"] else found, row["told_at"])


def _window(row: asyncpg.Record) -> Window:
    room = Room(
        key=(row["budget_id"], row["window_start"]),
        measure=row["measure"],
        limit=int(row["limit_amount"]),
        posted=int(row["posted"]),
        escrowed=int(row["escrowed"]),
        suspended=int(row["suspended"]),
        is_hard=row["is_hard"],
        is_over=row["is_over"],
    )
    return Window(room, row["window_end"], row["limit_revision"], row["revision"])
