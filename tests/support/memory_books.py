"""The budget service's books in memory: what `budget.unit` asks for, without PostgreSQL.

The model, the gateway tests' budget service and a contract test against PostgreSQL use it. A transaction that fails
leaves nothing. Transactions take turns.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from budget.accounts.rules import Account
from budget.alerts.occurrences import Crossing, Noted, Notes
from budget.budgets.rules import Budget, BudgetsByAccount, Window, fresh_window
from budget.budgets.windows import Span
from budget.shares.rules import OwnShare, Share, ShareKey, WindowKey, release
from budget.shares.silence import GatewayEpoch, Sign
from budget.store.rows import SuspendedShare
from farebox.errors import NotFound
from farebox.kafka import Message, Offsets, Record
from farebox.shares import ShareReport

_FIRST_SIGN = datetime(2026, 1, 1, tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """A gateway and its newest epoch."""

    epoch: int
    process_id: UUID | None
    closes_whole: bool
    last_record: int
    seen_at: datetime
    policy_revision: int = 0


@dataclass
class Tables:
    """Everything there is. Values are immutable, so that a copy of the dicts is a snapshot."""

    now: Callable[[], datetime]
    accounts: dict[str, Account] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    budgets: dict[UUID, Budget] = field(default_factory=dict)
    windows: dict[WindowKey, Window] = field(default_factory=dict)
    shares: dict[ShareKey, Share] = field(default_factory=dict)
    gateways: dict[str, GatewayRow] = field(default_factory=dict)
    recalled: set[ShareKey] = field(default_factory=set)
    posted: set[UUID] = field(default_factory=set)
    crossings: dict[tuple[WindowKey, str, int], Crossing] = field(default_factory=dict)
    uncertain: dict[tuple[UUID, WindowKey], int] = field(default_factory=dict)
    corrected: set[UUID] = field(default_factory=set)
    released: dict[ShareKey, str] = field(default_factory=dict)
    policy_changes: list[tuple[int, str]] = field(default_factory=list)
    outbox: list[Message] = field(default_factory=list)

    def snapshot(self) -> "Tables":
        return Tables(**{name: copy(value) for name, value in vars(self).items()})


class MemoryRegistry:
    """As `budget.store.registry.Registry`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def path(self, account_id: str) -> list[Account]:
        if account_id not in self._tables.accounts:
            raise NotFound(f"there is no account {account_id!r}")
        return [self._tables.accounts[each] for each in self._tables.accounts[account_id].path]

    async def paths_of_keys(self, key_hashes: Collection[str]) -> dict[str, list[Account]]:
        keys = self._tables.keys
        return {key_hash: await self.path(keys[key_hash]) for key_hash in key_hashes if key_hash in keys}

    async def budgets_of(self, accounts: Collection[str]) -> BudgetsByAccount:
        found: dict[str, tuple[Budget, ...]] = {}
        for budget in self._tables.budgets.values():
            if budget.account.id in accounts:
                found[budget.account.id] = (*found.get(budget.account.id, ()), budget)
        return found

    async def budgets_named(self, budget_ids: Collection[UUID]) -> dict[UUID, Budget]:
        return {each: self._tables.budgets[each] for each in budget_ids if each in self._tables.budgets}


class MemoryBooks:
    """As `budget.store.books.Books`. Every gateway that ever spoke counts as live."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    # Windows

    async def open(self, spans: Mapping[WindowKey, Span]) -> None:
        for key, span in spans.items():
            if key not in self._tables.windows:
                self._tables.windows[key] = fresh_window(self._tables.budgets[key[0]], span)

    async def lock(self, keys: Collection[WindowKey]) -> dict[WindowKey, Window]:
        return {key: self._tables.windows[key] for key in sorted(keys) if key in self._tables.windows}

    async def read(self, keys: Collection[WindowKey]) -> dict[WindowKey, Window]:
        return await self.lock(keys)

    async def save(
        self, windows: Mapping[WindowKey, Window], shares: Sequence[Share] = (), now: datetime | None = None
    ) -> None:
        for window in windows.values():
            room = window.room
            assert min(room.escrowed, room.suspended, room.uncertain) >= 0, "a figure fell below 0"
            assert room.out <= room.limit or room.is_over or not room.is_hard, "CHECK within_limit"
        self._tables.windows |= windows
        self._tables.shares |= {share.key: share for share in shares}

    # Gateways and shares

    async def start_gateway(
        self, gateway_id: str, process_id: UUID, *, last_epoch: int, last_record: int, is_whole: bool
    ) -> tuple[int, bool]:
        row = self._tables.gateways.get(gateway_id)
        if row is None:
            row = GatewayRow(last_epoch + 1, process_id, is_whole, 0, _FIRST_SIGN)
        elif row.process_id != process_id:
            closes = is_whole and last_epoch >= row.epoch and last_record >= row.last_record
            row = GatewayRow(max(row.epoch, last_epoch) + 1, process_id, closes, last_record, self._sign(row))
        self._tables.gateways[gateway_id] = row
        return row.epoch, row.closes_whole

    async def epoch(self, gateway_id: str) -> int | None:
        row = self._tables.gateways.get(gateway_id)
        return row.epoch if row else None

    async def seen(self, gateway_id: str, epoch: int, *, last_record: int, policy_revision: int) -> datetime | None:
        row = self._tables.gateways.get(gateway_id)
        if row is None or row.epoch != epoch:
            return None
        self._tables.gateways[gateway_id] = replace(
            row,
            last_record=max(row.last_record, last_record),
            policy_revision=policy_revision if policy_revision <= await self.newest_policy_change() else 0,
            seen_at=self._sign(row),
        )
        return self._tables.now()

    async def fence(self, gateway_id: str, epoch: int) -> None:
        row = self._tables.gateways.get(gateway_id)
        if row is not None and row.epoch == epoch:
            self._tables.gateways[gateway_id] = replace(row, epoch=epoch + 1, process_id=None)

    async def signs_of_life(self) -> dict[GatewayEpoch, Sign]:
        newest = {(gateway, row.epoch): row.seen_at for gateway, row in self._tables.gateways.items()}
        over: dict[GatewayEpoch, Sign] = {
            (share.key.gateway_id, share.key.epoch): None
            for share in self._tables.shares.values()
            if share.is_suspended and share.held and self._is_over(share)
        }
        return {**newest, **over}

    async def shares(self, keys: Collection[WindowKey], gateway_id: str, epoch: int) -> list[Share]:
        return [
            share
            for share in self._tables.shares.values()
            if share.key.window in keys
            and (share.held or (share.key.gateway_id, share.key.epoch) == (gateway_id, epoch))
        ]

    async def shares_of_epoch(self, keys: Sequence[WindowKey], gateway_id: str, epoch: int) -> list[OwnShare | None]:
        return [self._own(ShareKey(*key, gateway_id, epoch)) for key in keys]

    def _own(self, key: ShareKey) -> OwnShare | None:
        if (share := self._tables.shares.get(key)) is None:
            return None
        measure = self._tables.budgets[key.budget_id].measure
        return OwnShare(measure, share.granted, share.returned, share.overdrawn, share.is_suspended)

    async def take(self, gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> int:
        taken = set()
        for each in reports:
            key = ShareKey(each.budget_id, each.window_start, gateway_id, epoch)
            before = self._tables.shares.get(key)
            if before and not before.is_suspended:
                after = before.reported(granted=each.granted, returned=each.returned, overdrawn=each.overdrawn)
                window = self._tables.windows[key.window]
                await self.save({key.window: window.with_room(release(before, after, window.room))})
                self._tables.shares[key] = after
                taken.add(key)
        return len(taken)

    async def shares_named(self, keys: Collection[ShareKey]) -> list[Share]:
        return [self._tables.shares[key] for key in keys if key in self._tables.shares]

    async def shares_to_end(self, gateway_id: str, before: int, limit: int) -> list[Share]:
        found = [
            share
            for key, share in sorted(self._tables.shares.items())
            if key.gateway_id == gateway_id and key.epoch < before and share.held
            if not share.is_final and not share.is_suspended
        ]
        return found[:limit]

    async def recall(self, key: WindowKey, gateway_id: str, now: datetime) -> bool:
        asked = {
            share.key
            for share in self._tables.shares.values()
            if share.key.window == key and share.key.gateway_id != gateway_id and share.held
            if not share.is_suspended and not self._is_over(share)
        }
        self._tables.recalled |= asked
        return bool(asked)

    async def recalled(self, gateway_id: str, epoch: int) -> list[WindowKey]:
        told = {key for key in self._tables.recalled if (key.gateway_id, key.epoch) == (gateway_id, epoch)}
        self._tables.recalled -= told
        return [key.window for key in sorted(told)]

    async def shares_of_the_lost(self, silent: Mapping[GatewayEpoch, Sign], limit: int) -> list[Share]:
        rows = self._tables.gateways
        found = [
            share
            for key, share in sorted(self._tables.shares.items())
            if (key.gateway_id, key.epoch) in silent and share.held and not share.is_suspended
            if rows[key.gateway_id].seen_at == silent[key.gateway_id, key.epoch]
        ]
        return found[:limit]

    async def suspended(self, limit: int) -> list[SuspendedShare]:
        found = [
            SuspendedShare(
                gateway_id=key.gateway_id,
                epoch=key.epoch,
                suspended_at=_FIRST_SIGN,
                budget_id=key.budget_id,
                budget_name=self._tables.budgets[key.budget_id].name,
                account_id=self._tables.budgets[key.budget_id].account.id,
                currency=self._tables.budgets[key.budget_id].currency,
                window_start=key.window_start,
                held=share.held,
            )
            for key, share in sorted(self._tables.shares.items())
            if share.is_suspended and share.held
        ]
        return found[:limit]

    async def shares_to_release(self, gateway_id: str, epoch: int, budget_id: UUID | None, limit: int) -> list[Share]:
        found = [
            share
            for key, share in sorted(self._tables.shares.items())
            if (key.gateway_id, key.epoch) == (gateway_id, epoch) and share.is_suspended and share.held
            if budget_id in {None, key.budget_id}
        ]
        return found[:limit]

    async def note_release(self, keys: Collection[ShareKey], now: datetime, note: str) -> None:
        self._tables.released |= dict.fromkeys(keys, note)

    async def leases(self, lease_ids: Collection[UUID]) -> dict[UUID, list[ShareKey]]:
        return {}

    async def forget_leases(self, before: datetime) -> None:
        """There are none."""

    # Postings and marks

    async def seen_before(self, entry_ids: Collection[UUID]) -> set[UUID]:
        before = self._tables.posted & set(entry_ids)
        self._tables.posted |= set(entry_ids)
        return before

    async def noted(self, keys: Collection[WindowKey]) -> dict[WindowKey, Notes]:
        found: dict[WindowKey, dict[str, Noted]] = {}
        for each in self._tables.crossings.values():
            if each.key in keys:
                before = found.setdefault(each.key, {}).get(each.mark_id, Noted())
                found[each.key][each.mark_id] = Noted(
                    newest=max(before.newest, each.occurrence.number),
                    open=before.open if each.resolved_at else each.occurrence,
                    told_at=each.crossed_at if each.occurrence.notify_people else before.told_at,
                )
        return dict(found)

    async def end_crossings(self, marks: Collection[tuple[WindowKey, str]], now: datetime) -> None:
        for place, each in self._tables.crossings.items():
            if (each.key, each.mark_id) in marks and each.resolved_at is None:
                self._tables.crossings[place] = replace(each, resolved_at=now)

    async def add_crossings(self, crossings: Sequence[Crossing]) -> set[UUID]:
        fresh = set()
        for each in crossings:
            place = each.key, each.mark_id, each.occurrence.number
            if place not in self._tables.crossings:
                self._tables.crossings[place] = each
                fresh.add(each.event_id)
        return fresh

    # Uncertain amounts

    async def add_uncertain(self, amounts: Mapping[tuple[UUID, WindowKey], int], now: datetime) -> None:
        self._tables.uncertain = {**amounts, **self._tables.uncertain}

    async def uncertain_of(self, attempt_ids: Collection[UUID]) -> dict[tuple[UUID, WindowKey], int]:
        return {key: amount for key, amount in self._tables.uncertain.items() if key[0] in attempt_ids}

    async def end_uncertain(self, attempt_ids: Collection[UUID], now: datetime, note: str) -> None:
        for key in [key for key in self._tables.uncertain if key[0] in attempt_ids]:
            del self._tables.uncertain[key]

    async def note_corrected(self, attempt_ids: Collection[UUID], now: datetime) -> None:
        self._tables.corrected |= set(attempt_ids)

    async def corrected(self, attempt_ids: Collection[UUID]) -> set[UUID]:
        return self._tables.corrected & set(attempt_ids)

    # Changes of policies

    async def policy_changes(self, since: int, limit: int) -> list[tuple[int, str]]:
        return [each for each in reversed(self._tables.policy_changes) if each[0] > since][:limit]

    async def newest_policy_change(self) -> int:
        return max((revision for revision, _ in self._tables.policy_changes), default=0)

    async def forget_policy_changes(self, before: datetime) -> None:
        """They are few."""

    async def confirm_budgets(self, now: datetime) -> list[UUID]:
        return []

    def _is_over(self, share: Share) -> bool:
        row = self._tables.gateways.get(share.key.gateway_id)
        return row is None or row.epoch != share.key.epoch

    def _sign(self, row: GatewayRow) -> datetime:
        """Another than the last."""
        return row.seen_at + timedelta(microseconds=1)


class MemoryUnit:
    """One transaction's view."""

    def __init__(self, tables: Tables) -> None:
        self.registry = MemoryRegistry(tables)
        self.books = MemoryBooks(tables)
        self._tables = tables

    async def announce(self, messages: Sequence[Message]) -> None:
        self._tables.outbox += messages

    async def note(self, offsets: Offsets, records: Sequence[Record]) -> None:
        """There is no topic to go back in."""


class MemoryStore:
    """`tables` may be looked at, and changed between transactions."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.tables = Tables(now=now or _now)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryUnit]:
        async with self._turn:
            before = self.tables.snapshot()
            try:
                yield MemoryUnit(self.tables)
            except BaseException:
                self.tables = before
                raise

    def change_policy(self, account_id: str) -> None:
        """As an administrator's change is numbered."""
        changes = self.tables.policy_changes
        changes.append((len(changes) + 1, account_id))
