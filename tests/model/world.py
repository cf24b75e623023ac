"""The lease protocol with its two real halves and nothing else real.

`Service` is `budget.leases` and `budget.handlers` without PostgreSQL; `Gateway` is `gateway.lease_client`,
`gateway.attempts` and `gateway.journal` without sockets. Where a rule of theirs is pure, it is the real one that runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from budget.budgets.rules import Budget, Window
from budget.budgets.windows import Calendar
from budget.posting.rules import apply, tally
from budget.shares.rules import Ask, Desk, Granted, Obstacle, Room, ShareState, Short, WindowKey, grant
from farebox.events import AccountRef, LeaseUse, Measure, Principal, UsagePriced
from farebox.events.budget import AccountKind
from farebox.ids import new_id
from farebox.leasing import Attributes, Lease, LeaseReport, Share
from gateway.admission.estimate import Amount
from gateway.budget_link.client import closing
from gateway.journal.record import Entry, Kind, checkpoint_line, entry_line, epoch_line, lease_line, published_line
from gateway.journal.replay import Replay
from gateway.shares.leases import Hold, Leases, PoolKey, Total

BEGINNING: Final = datetime(2026, 3, 1, tzinfo=UTC)
TOKENS: Final = 10


def a_budget(account: str, kind: AccountKind, limit: int, measure: Measure = "money") -> Budget:
    return Budget(
        budget_id=new_id(),
        name=f"{account} {measure}",
        account=AccountRef(id=account, kind=kind, name=account),
        path=("platform", account),
        measure=measure,
        currency="USD" if measure == "money" else None,
        calendar=Calendar("day", "UTC"),
        limit=limit,
        limit_revision=1,
        mode="hard",
        is_active=True,
        marks=(),
        narrowed_to=Attributes(),
    )


class Fenced(Exception):
    """The service knows a newer epoch of this gateway."""


@dataclass
class Service:
    """The budget service in memory; each method is one transaction."""

    budgets: list[Budget]
    live_gateways: int = 1
    now: datetime = BEGINNING
    windows: dict[WindowKey, Window] = field(default_factory=dict)
    shares: dict[tuple[UUID, UUID], ShareState] = field(default_factory=dict)
    owners: dict[UUID, tuple[str, int]] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    recalled: set[UUID] = field(default_factory=set)
    posted: dict[UUID, int] = field(default_factory=dict)
    highest_limit: dict[WindowKey, int] = field(default_factory=dict)

    def path(self, user: str) -> list[Budget]:
        return [budget for budget in self.budgets if budget.account.id in {"acme", user}]

    def start(self, gateway: str, last_epoch: int, reports: Sequence[LeaseReport]) -> int:
        epoch = self.epochs[gateway] = self.epochs.get(gateway, 0) + 1
        desk = self._desk()
        for report in reports:
            desk.report(report)
        told = {report.lease_id for report in reports}
        for lease_id, (owner, granted_in) in self.owners.items():
            in_suspense = any(share.is_suspended for share in desk.shares_of(lease_id))
            if owner == gateway and granted_in < epoch and lease_id not in told and not in_suspense:
                if last_epoch == epoch - 1:
                    desk.close(lease_id)
                else:
                    desk.suspend(lease_id)
        self._save(desk)
        return epoch

    def heartbeat(self, gateway: str, epoch: int, reports: Iterable[LeaseReport]) -> set[UUID]:
        """Which leases others need back, told once."""
        self._fence(gateway, epoch)
        desk = self._desk()
        for report in reports:
            desk.report(report)
        self._save(desk)
        told = {lease_id for lease_id in self.recalled if self.owners[lease_id] == (gateway, epoch)}
        self.recalled -= told
        return told

    def grant(
        self, gateway: str, epoch: int, lease_id: UUID, user: str, need: int, want: int, reports: Iterable[LeaseReport]
    ) -> Lease | None:
        """None is a refusal; where only leases are in the way, the other gateways are asked for what they hold."""
        self._fence(gateway, epoch)
        path = self.path(user)
        for budget in path:
            self._open(budget, budget.window_key(self.now))
        desk = self._desk()
        for report in reports:
            desk.report(report)
        rooms = [desk.rooms[budget.window_key(self.now)] for budget in path]
        verdict = self._verdict(desk, rooms, lease_id, need, want)
        if isinstance(verdict, Granted) and lease_id not in self.owners:
            self.owners[lease_id] = (gateway, epoch)
            for key, amount in verdict.amounts.items():
                desk.rooms[key] = desk.rooms[key].promised(amount)
                desk.shares[lease_id, key[0]] = ShareState(lease_id, key, amount)
        self._save(desk)
        if isinstance(verdict, Short):
            if verdict.obstacle is Obstacle.HELD:
                self._recall(verdict.key, gateway)
            return None
        return self._lease(lease_id, verdict.amounts, path)

    def post(self, entries: Iterable[UsagePriced]) -> None:
        fresh = {entry.entry_id: entry for entry in entries if entry.entry_id not in self.posted}
        self.posted |= {entry.entry_id: entry.billed_nano or 0 for entry in fresh.values()}
        by_account: dict[str, tuple[Budget, ...]] = {}
        for budget in self.budgets:
            by_account[budget.account.id] = (*by_account.get(budget.account.id, ()), budget)
        shares: dict[UUID, dict[UUID, ShareState]] = {}
        for (lease_id, budget_id), share in self.shares.items():
            shares.setdefault(lease_id, {})[budget_id] = share
        tallies = tally(fresh.values(), by_account, shares)
        for each in tallies.values():
            self._open(each.budget, each.key)
        outcome = apply(tallies.values(), self.windows, shares)
        self.windows |= outcome.windows
        self.shares |= {(share.lease_id, share.key[0]): share for share in outcome.shares}

    def set_limit(self, place: int, limit: int) -> None:
        """Of one budget, in its present window and those to come."""
        old = self.budgets[place]
        budget = self.budgets[place] = replace(old, limit=limit, limit_revision=old.limit_revision + 1)
        key = budget.window_key(self.now)
        if key in self.windows:
            self.windows[key] = self.windows[key].under(budget)
            self.highest_limit[key] = max(self.highest_limit[key], limit)

    def _verdict(self, desk: Desk, rooms: Sequence[Room], lease_id: UUID, need: int, want: int) -> Granted | Short:
        if known := desk.shares_of(lease_id):
            return Granted({share.key: share.granted for share in known})
        asks: dict[Measure, Ask] = {
            "money": Ask(need, need, want),
            "requests": Ask(1, 1, 4),
            "tokens": Ask(TOKENS, TOKENS, TOKENS),
        }
        return grant(rooms, asks, live_gateways=self.live_gateways)

    def _recall(self, key: WindowKey, asking: str) -> None:
        for (lease_id, _), share in self.shares.items():
            owner, epoch = self.owners[lease_id]
            can_answer = owner != asking and self.epochs[owner] == epoch
            if share.key == key and share.held and not share.is_suspended and can_answer:
                self.recalled.add(lease_id)

    def _lease(self, lease_id: UUID, amounts: dict[WindowKey, int] | object, path: Sequence[Budget]) -> Lease:
        by_id = {budget.budget_id: budget for budget in path}
        end = path[0].calendar.span(self.now).end
        assert end is not None
        assert isinstance(amounts, dict)
        return Lease(
            lease_id=lease_id,
            shares=tuple(
                Share(budget_id=key[0], measure=by_id[key[0]].measure, granted=amount)
                for key, amount in amounts.items()
            ),
            valid_for_ms=int((end - self.now).total_seconds() * 1000),
        )

    def _open(self, budget: Budget, key: WindowKey) -> None:
        if key not in self.windows:
            room = Room(key, budget.measure, budget.limit, 0, 0, 0)
            self.windows[key] = Window(room, None, budget.limit_revision, 1)
            self.highest_limit[key] = budget.limit

    def _desk(self) -> Desk:
        return Desk({key: window.room for key, window in self.windows.items()}, dict(self.shares))

    def _save(self, desk: Desk) -> None:
        for key, room in desk.rooms.items():
            assert room.posted + room.escrowed + room.suspended <= room.limit or room.is_over, "CHECK within_limit"
            if room != self.windows[key].room:
                self.windows[key] = self.windows[key].with_room(room)
        self.shares = desk.shares

    def _fence(self, gateway: str, epoch: int) -> None:
        if self.epochs.get(gateway) != epoch:
            raise Fenced


@dataclass(frozen=True, slots=True)
class Call:
    """An attempt that was admitted, and the most it may cost."""

    attempt: UUID
    user: str
    hold: Hold
    reserve: int


@dataclass(frozen=True, slots=True)
class Completed:
    """What `request.completed` says of an attempt."""

    attempt: UUID
    user: str
    lease_id: UUID
    amount: int
    requests: int


@dataclass
class Gateway:
    """One gateway process and its disk."""

    name: str
    service: Service
    disk: list[bytes] = field(default_factory=list)
    entries: dict[UUID, Entry] = field(default_factory=dict)
    leases: Leases = field(default_factory=Leases)
    epoch: int = 0
    is_segment_full: bool = False

    def boot(self) -> list[Completed]:
        """Read the journal, claim an epoch; the events to send, again or for the first time."""
        replay = Replay()
        replay.segment(0, self.disk)
        assert not replay.damaged
        for attempt in replay.intents:
            self.disk.append(entry_line(Kind.COMPLETED, self.entries[attempt]))
            replay.spend(self.entries[attempt].lease_id, self.entries[attempt].amount)
        reports = [closing(total) for total in replay.leases.values()]
        self.epoch = self.service.start(self.name, replay.epoch, reports)
        self.disk.append(epoch_line(self.epoch))
        return [self._event(attempt) for attempt in (*replay.intents, *replay.completions)]

    def crash(self, *, loses_disk: bool = False) -> None:
        self.leases, self.epoch = Leases(), 0
        if loses_disk:
            self.disk, self.entries = [], {}

    def take(self, pool: PoolKey, lease: Lease, now: float) -> None:
        """A granted lease, into hand and onto disk."""
        if held := self.leases.add(pool, lease, now):
            self.disk.append(lease_line(Total(held.id, held.shares, held.spent)))

    def admit(self, user: str, pool: PoolKey, reserve: int, now: float) -> Call | None:
        """Reserve, and write the intent; None if no lease in hand carries it."""
        hold = self.leases.reserve(pool, Amount(reserve, 1, TOKENS), now)
        if hold is None:
            return None
        call = Call(new_id(), user, hold, reserve)
        self._write(Kind.INTENT, call, Amount(reserve, 1, TOKENS))
        return call

    def complete(self, call: Call, cost: int) -> Completed:
        """The answer came: journal, settle, tell."""
        amount = Amount(cost, 1, TOKENS)
        self._write(Kind.COMPLETED, call, amount)
        assert self.leases.settle(call.hold, amount)
        return self._event(call.attempt)

    def published(self, attempt: UUID) -> None:
        self.disk.append(published_line([attempt]))

    def _write(self, kind: Kind, call: Call, amount: Amount) -> None:
        entry = Entry(call.attempt, call.hold.lease.id, amount, call.user, BEGINNING, b"{}")
        self.entries[call.attempt] = entry
        if self.is_segment_full:  # its checkpoint stands for all that older segments said of leases
            self.disk.append(checkpoint_line(self.epoch, list(self.leases.totals())))
            self.is_segment_full = False
        self.disk.append(entry_line(kind, entry))

    def _event(self, attempt: UUID) -> Completed:
        entry = self.entries[attempt]
        assert entry.lease_id is not None
        return Completed(attempt, entry.key, entry.lease_id, entry.amount.money, entry.amount.requests)


def priced(event: Completed, at: datetime) -> UsagePriced:
    """What metering makes of it."""
    return UsagePriced(
        entry_id=event.attempt,
        attempt_id=event.attempt,
        request_id=event.attempt,
        occurred_at=at,
        priced_at=at,
        principal=Principal(org="acme", user=event.user, key=f"key-{event.user}"),
        provider="openai",
        model="m",
        cost_nano_usd=event.amount,
        billed_nano=event.amount,
        currency="USD",
        price_version="v",
        requests=event.requests,
        tokens=TOKENS,
        usage_source="reported",
        lease=LeaseUse(lease_id=event.lease_id, reserve_nano=event.amount),
    )
