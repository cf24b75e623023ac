"""Windows, shares, postings and marks as rows. Rows are locked in (budget_id, window_start) order, always."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from budget.alerts.occurrences import Crossing, Noted, Notes, Occurrence
from budget.budgets.rules import Window
from budget.budgets.windows import Span
from budget.shares.rules import OwnShare, Room, Share, ShareKey, WindowKey
from budget.shares.silence import GatewayEpoch, Sign
from budget.store.rows import OpenUncertain, SuspendedShare
from farebox.postgres import Connection
from farebox.shares import ShareReport

LIVE_WITHIN = timedelta(seconds=10)
"""A gateway whose last beat is older, by PostgreSQL's clock, is not asked to give back."""
CONFIRMING_WITHIN = timedelta(minutes=15)
"""A gateway that was silent for longer uses no policy any more that it learnt before (FAREBOX_POLICY_STALE_S)."""


class Posted(NamedTuple):
    """What is posted in a window of a budget, and since when that budget counts."""

    name: str
    amount: int
    counts_from: datetime


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
        ends = [span.end for span in spans.values()]
        await self._connection.execute(self._sql["windows_open"], *_columns(list(spans)), ends)

    async def lock(self, keys: Collection[WindowKey]) -> dict[WindowKey, Window]:
        """Windows that exist, locked until the transaction ends."""
        rows = await self._connection.fetch(self._sql["windows_for_update"], *_columns(list(keys)))
        return {(row["budget_id"], row["window_start"]): _window(row) for row in rows}

    async def read(self, keys: Collection[WindowKey]) -> dict[WindowKey, Window]:
        """Windows that exist, without a lock."""
        rows = await self._connection.fetch(self._sql["windows"], *_columns(list(keys)))
        return {(row["budget_id"], row["window_start"]): _window(row) for row in rows}

    async def current(self, budget_id: UUID, now: datetime) -> list[WindowKey]:
        """Windows of a budget that have not ended."""
        rows = await self._connection.fetch(self._sql["windows_since"], budget_id, now)
        return [(row["budget_id"], row["window_start"]) for row in rows]

    async def save(
        self, windows: Mapping[WindowKey, Window], shares: Sequence[Share] = (), now: datetime | None = None
    ) -> None:
        """Write back locked windows, and shares of locked windows, those that are new too: one statement. The table's
        CHECK judges the limit once more. `now` is since when a new suspense is."""
        if not (windows or shares):
            return
        rooms = [window.room for window in windows.values()]
        await self._connection.execute(
            self._sql["positions_save"],
            *_columns(list(windows)),
            _joined(room.posted for room in rooms),
            _joined(room.escrowed for room in rooms),
            _joined(room.suspended for room in rooms),
            _joined(room.uncertain for room in rooms),
            _joined(room.limit for room in rooms),
            _joined(window.limit_revision for window in windows.values()),
            _joined(room.is_hard for room in rooms),
            _joined(room.is_over for room in rooms),
            _joined(window.revision for window in windows.values()),
            now,
            *_share_columns([share.key for share in shares]),
            _joined(share.granted for share in shares),
            _joined(share.returned for share in shares),
            _joined(share.overdrawn for share in shares),
            _joined(share.posted for share in shares),
            _joined(share.is_final for share in shares),
            _joined(share.is_suspended for share in shares),
        )

    # Gateways and shares

    async def start_gateway(
        self, gateway_id: str, process_id: UUID, *, last_epoch: int, last_record: int, is_whole: bool
    ) -> tuple[int, bool]:
        """The epoch of this process, from 1, and whether its story of the epoch before is the whole one."""
        row = await self._connection.fetchrow(
            self._sql["gateway_start"], gateway_id, process_id, last_epoch, last_record, is_whole
        )
        assert row is not None  # noqa: S101 - the statement always returns its row
        return row["epoch"], row["closes_whole"]

    async def epoch(self, gateway_id: str) -> int | None:
        """The gateway's newest epoch, held until the transaction ends; None for one that never started."""
        epoch: int | None = await self._connection.fetchval(self._sql["gateway_epoch"], gateway_id)
        return epoch

    async def seen(self, gateway_id: str, epoch: int, *, last_record: int, policy_revision: int) -> datetime | None:
        """Note that an epoch lives, and how far its journal and policies are; the books' time, None if it is over."""
        now: datetime | None = await self._connection.fetchval(
            self._sql["gateway_seen"], gateway_id, epoch, last_record, policy_revision
        )
        return now

    async def fence(self, gateway_id: str, epoch: int) -> None:
        """End an epoch, if it is the newest: its gateway's next message is refused."""
        await self._connection.execute(self._sql["gateway_fence"], gateway_id, epoch)

    async def signs_of_life(self) -> dict[GatewayEpoch, Sign]:
        """The newest of every gateway, and None for epochs that are over and have shares in suspense."""
        rows = await self._connection.fetch(self._sql["gateway_signs"])
        return {(row["gateway_id"], row["epoch"]): row["seen_at"] for row in rows}

    async def shares(self, keys: Collection[WindowKey], gateway_id: str, epoch: int) -> list[Share]:
        """What anybody holds of these windows, and what this epoch has of them. True only under the windows' locks."""
        rows = await self._connection.fetch(self._sql["shares"], *_columns(list(keys)), gateway_id, epoch)
        return [_share(row) for row in rows]

    async def shares_of_epoch(self, keys: Sequence[WindowKey], gateway_id: str, epoch: int) -> list[OwnShare | None]:
        """What this epoch has of each of these windows."""
        rows = await self._connection.fetch(self._sql["shares_of_epoch"], *_columns(keys), gateway_id, epoch)
        found: list[OwnShare | None] = [None] * len(keys)
        for place, measure, granted, returned, overdrawn, is_suspended in rows:
            found[place - 1] = OwnShare(measure, int(granted), int(returned), int(overdrawn), is_suspended)
        return found

    async def take(self, gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> int:
        """Lock windows, and take an epoch's totals of those of its shares that are there and not in suspense; how many.

        One statement, where `Positions` would need a read and a write of each.
        """
        columns = _columns([(each.budget_id, each.window_start) for each in reports])
        await self._connection.execute(self._sql["windows_hold"], *columns)
        status = await self._connection.execute(
            self._sql["shares_take"],
            gateway_id,
            epoch,
            *columns,
            _joined(each.granted for each in reports),
            _joined(each.returned for each in reports),
            _joined(each.overdrawn for each in reports),
        )
        return int(status.rpartition(" ")[2])

    async def shares_named(self, keys: Collection[ShareKey]) -> list[Share]:
        """Those of the shares that there are. True only under the windows' locks."""
        rows = await self._connection.fetch(self._sql["shares_named"], *_share_columns(list(keys)))
        return [_share(row) for row in rows]

    async def shares_to_end(self, gateway_id: str, before: int, limit: int) -> list[Share]:
        """What the gateway's epochs before this one hold and nobody has accounted for; a batch of them."""
        rows = await self._connection.fetch(self._sql["shares_to_end"], gateway_id, before, limit)
        return [_share(row) for row in rows]

    async def recall(self, key: WindowKey, gateway_id: str, now: datetime) -> bool:
        """Ask the other live gateways for what they hold of a window; whether any holds something."""
        status = await self._connection.execute(self._sql["shares_recall"], *key, gateway_id, now, LIVE_WITHIN)
        return not status.endswith(" 0")

    async def recalled(self, gateway_id: str, epoch: int) -> list[WindowKey]:
        """The windows a gateway is asked to give back, told once."""
        rows = await self._connection.fetch(self._sql["shares_recalled"], gateway_id, epoch)
        return [(row["budget_id"], row["window_start"]) for row in rows]

    async def shares_of_the_lost(self, silent: Mapping[GatewayEpoch, Sign], limit: int) -> list[Share]:
        """Shares, not in suspense yet, of gateways of which these are still the last signs of life; a batch of them."""
        if not silent:
            return []
        gateways, epochs = [gateway for gateway, _ in silent], [epoch for _, epoch in silent]
        rows = await self._connection.fetch(
            self._sql["shares_of_the_lost"], gateways, epochs, list(silent.values()), limit
        )
        return [_share(row) for row in rows]

    async def suspended(self, limit: int) -> list[SuspendedShare]:
        """What is counted as spent because a gateway was lost."""
        rows = await self._connection.fetch(self._sql["shares_suspended"], limit)
        return [SuspendedShare(**(dict(row) | {"held": int(row["held"])})) for row in rows]

    async def shares_to_release(self, gateway_id: str, epoch: int, budget_id: UUID | None, limit: int) -> list[Share]:
        """What an epoch has in suspense, in one budget or in all; a batch of them."""
        rows = await self._connection.fetch(self._sql["shares_to_release"], gateway_id, epoch, budget_id, limit)
        return [_share(row) for row in rows]

    async def note_release(self, keys: Collection[ShareKey], now: datetime, note: str) -> None:
        await self._connection.execute(self._sql["shares_note_release"], *_share_columns(list(keys)), now, note)

    async def leases(self, lease_ids: Collection[UUID]) -> dict[UUID, list[ShareKey]]:
        """Where the calls of leases of the version before were held."""
        found: dict[UUID, list[ShareKey]] = {}
        for row in await self._connection.fetch(self._sql["leases_as_shares"], list(lease_ids)):
            key = ShareKey(row["budget_id"], row["window_start"], row["gateway_id"], row["epoch"])
            found.setdefault(row["lease_id"], []).append(key)
        return found

    async def forget_leases(self, before: datetime) -> None:
        """Leases of the version before, granted before this instant."""
        await self._connection.execute(self._sql["leases_forget"], before)

    # Uncertain amounts

    async def add_uncertain(self, amounts: Mapping[tuple[UUID, WindowKey], int], now: datetime) -> None:
        """By attempt and window."""
        if amounts:
            keys = list(amounts)
            await self._connection.execute(
                self._sql["uncertain_insert"],
                [attempt for attempt, _ in keys],
                *_columns([key for _, key in keys]),
                list(amounts.values()),
                now,
            )

    async def uncertain_of(self, attempt_ids: Collection[UUID]) -> dict[tuple[UUID, WindowKey], int]:
        """What is still open of these attempts, by window."""
        rows = await self._connection.fetch(self._sql["uncertain_of"], list(attempt_ids))
        return {(row["attempt_id"], (row["budget_id"], row["window_start"])): int(row["amount"]) for row in rows}

    async def end_uncertain(self, attempt_ids: Collection[UUID], now: datetime, note: str) -> None:
        await self._connection.execute(self._sql["uncertain_end"], list(attempt_ids), now, note)

    async def note_corrected(self, attempt_ids: Collection[UUID], now: datetime) -> None:
        """The truth of these attempts was entered."""
        await self._connection.execute(self._sql["corrected_note"], sorted(attempt_ids), now)

    async def corrected(self, attempt_ids: Collection[UUID]) -> set[UUID]:
        """Those of the attempts whose truth was entered. True only under the locks of their windows."""
        rows = await self._connection.fetch(self._sql["corrected_of"], list(attempt_ids))
        return {row["attempt_id"] for row in rows}

    async def end_some_uncertain(self, keys: Collection[tuple[UUID, WindowKey]], now: datetime, note: str) -> None:
        """Of attempts, in these windows alone."""
        attempts, budgets = [attempt for attempt, _ in keys], [window[0] for _, window in keys]
        await self._connection.execute(self._sql["uncertain_end_some"], attempts, budgets, now, note)

    async def uncertain_over(self, now: datetime, limit: int) -> set[tuple[UUID, WindowKey]]:
        """What counts for longer than its account wants."""
        rows = await self._connection.fetch(self._sql["uncertain_over"], now, limit)
        return {(row["attempt_id"], (row["budget_id"], row["window_start"])) for row in rows}

    async def open_uncertain(self, limit: int) -> list[OpenUncertain]:
        """The oldest first."""
        rows = await self._connection.fetch(self._sql["uncertain_open"], limit)
        return [OpenUncertain(**(dict(row) | {"amount": int(row["amount"])})) for row in rows]

    # Changes of policies

    async def policy_changes(self, since: int, limit: int) -> list[tuple[int, str]]:
        """Changes after this one, the newest first: their numbers and accounts."""
        rows = await self._connection.fetch(self._sql["policy_changes_since"], since, limit)
        return [(row["revision"], row["account_id"]) for row in rows]

    async def newest_policy_change(self) -> int:
        """The number of the last change; 0 if there was none."""
        newest: int = await self._connection.fetchval(self._sql["policy_change_newest"])
        return newest

    async def forget_policy_changes(self, before: datetime) -> None:
        await self._connection.execute(self._sql["policy_changes_forget"], before)

    async def confirm_budgets(self, now: datetime) -> list[UUID]:
        """Budgets whose limit is guaranteed from now on, because every gateway that lives knows of it."""
        rows = await self._connection.fetch(self._sql["budgets_confirmed"], now, CONFIRMING_WITHIN)
        return [row["budget_id"] for row in rows]

    # Postings and marks

    async def seen_before(self, entry_ids: Collection[UUID]) -> list[UUID]:
        """Note ledger entries as posted; which of them had been."""
        before: list[UUID] = await self._connection.fetchval(self._sql["postings_insert"], list(entry_ids))
        return before

    async def posted(self, entry_ids: Collection[UUID]) -> set[UUID]:
        """Those of the ledger entries that were posted."""
        rows = await self._connection.fetch(self._sql["postings_of"], list(entry_ids))
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
            (row["budget_id"], row["window_start"]): Posted(row["name"], int(row["posted"]), row["counts_from"])
            for row in rows
        }

    async def audit_posted(self, entry_ids: Collection[UUID]) -> set[UUID]:
        """Those of the entries that were posted, each the first time it is asked for."""
        rows = await self._connection.fetch(self._sql["audit_posted"], list(entry_ids))
        return {row["entry_id"] for row in rows}


def _columns(keys: Sequence[WindowKey]) -> tuple[list[UUID], list[datetime]]:
    return [key[0] for key in keys], [key[1] for key in keys]


def _joined(column: Iterable[int]) -> str:
    """A column of numbers or booleans as one text: asyncpg writes arrays of them in many times the time."""
    return " ".join(map(str, column))


def _share_columns(keys: Sequence[ShareKey]) -> tuple[list[UUID], list[datetime], list[str], list[int]]:
    return (
        [key.budget_id for key in keys],
        [key.window_start for key in keys],
        [key.gateway_id for key in keys],
        [key.epoch for key in keys],
    )


def _share(row: asyncpg.Record) -> Share:
    return Share(
        key=ShareKey(row["budget_id"], row["window_start"], row["gateway_id"], row["epoch"]),
        granted=int(row["granted"]),
        returned=int(row["returned"]),
        overdrawn=int(row["overdrawn"]),
        posted=int(row["posted"]),
        is_suspended=row["suspended_at"] is not None,
        is_final=row["is_final"],
    )


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
        uncertain=int(row["uncertain"]),
        is_hard=row["is_hard"],
        is_over=row["is_over"],
    )
    return Window(room, row["window_end"], row["limit_revision"], row["revision"])
