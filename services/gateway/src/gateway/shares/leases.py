"""The gateway's half of the lease protocol, without I/O (the budget service's half is `budget.shares.rules`).

A lease is granted once and never grows. Of every share:

    available = granted − returned − Σ reserves under way − Σ settled

A call reserves its worst case in one lease, in all measures or none, and settles for what it used. What is not
needed any more (a lease closed because it is old, idle, recalled or too small) is returned. `returned` and `spent` only
grow.
Instants are seconds on a monotonic clock, given as arguments.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from farebox.events import Measure
from farebox.leasing import Amounts, Lease, LeaseReport
from gateway.admission.estimate import NOTHING, Amount

PoolKey: TypeAlias = tuple[str, tuple[UUID, ...]]
"""The billing currency and the ids, sorted, of the hard budgets that a call must pass."""

AHEAD_S: Final = 5
"""Seconds of recent spending that a lease is asked for."""
LOW_S: Final = 1
"""A pool with less than so many seconds of recent spending is renewed before it is empty."""
LOOK_S: Final = 0.1
IDLE_S: Final = 5.0
"""A pool that nobody drew on for so long gives all of it back."""
CALLS_AHEAD: Final = 4
"""A lease is asked for at least so many calls, so that a slow caller does not ask for one a call."""

_ENDLESS: Final = 1 << 62
_INDEX: Final[Mapping[Measure, int]] = {"money": 0, "requests": 1, "tokens": 2}


class Share(NamedTuple):
    """A lease's part in one budget, in its measure (an index into Amount)."""

    budget_id: UUID
    measure: int
    granted: int


@dataclass(slots=True, eq=False)
class Pool:
    """The leases of one set of budgets that may be drawn on, and how fast they are spent."""

    key: PoolKey
    leases: "list[Held]" = field(default_factory=list)
    spent: Amount = NOTHING
    spent_at_grant: Amount = NOTHING
    granted_at: float = 0.0
    used_at: float = 0.0
    looked_at: float = 0.0

    @property
    def in_hand(self) -> int:
        """Money that is not spent, what is under way included."""
        return sum(lease.room.money + lease.held.money for lease in self.leases)


@dataclass(slots=True, eq=False)
class Held:
    """One lease in hand. `room` is what its tightest share of each measure has left for further calls."""

    id: UUID
    pool: Pool
    shares: tuple[Share, ...]
    expires_at: float | None
    room: Amount
    spent: Amount = NOTHING
    held: Amount = NOTHING
    calls: int = 0
    returned: dict[UUID, int] = field(default_factory=dict)
    is_closing: bool = False
    revision: int = 1
    reported: int = 1

    @property
    def is_over(self) -> bool:
        """Nothing is under way, all is returned, and the service knows."""
        return self.is_closing and not self.calls and self.reported == self.revision


@dataclass(slots=True, eq=False)
class Hold:
    """A call's reserve in a lease, until it is settled or voided."""

    lease: Held
    amount: Amount
    is_open: bool = True

    @property
    def holds_usage(self) -> bool:
        """Whether money or tokens are held; a call is one request, whatever it uses."""
        return any(share.measure != _INDEX["requests"] for share in self.lease.shares)


class Report(NamedTuple):
    """What to tell the service, and which revision of the lease that is."""

    lease: Held
    revision: int
    wire: LeaseReport


class Total(NamedTuple):
    """A lease as the journal keeps it."""

    lease_id: UUID
    shares: tuple[Share, ...]
    spent: Amount


class Leases:
    """Every lease of this process, by pool."""

    def __init__(self) -> None:
        self._pools: dict[PoolKey, Pool] = {}
        self._leases: dict[UUID, Held] = {}

    def reserve(self, key: PoolKey, amount: Amount, now: float) -> Hold | None:
        """Hold `amount` in one lease of the pool, or None: then a grant is needed.

        A lease that is too small, with another behind it that is not, is closed: its rest is of more use elsewhere.
        """
        pool = self._pools.get(key)
        while pool is not None and pool.leases:
            lease = pool.leases[0]
            if not _is_expired(lease, now) and amount.within(lease.room):
                pool.used_at = now
                lease.held = _plus(lease.held, amount)
                lease.room = _minus(lease.room, amount)
                lease.calls += 1
                return Hold(lease, amount)
            if not _is_expired(lease, now) and not any(amount.within(other.room) for other in pool.leases[1:]):
                return None
            self._close(lease)
        return None

    def settle(self, hold: Hold, actual: Amount) -> bool:
        """Turn a hold into spending; False if that is more than was held. A second time changes nothing."""
        if not hold.is_open:
            return True
        hold.is_open = False
        lease = hold.lease
        lease.held = _minus(lease.held, hold.amount)
        lease.spent = _plus(lease.spent, actual)
        lease.room = _plus(lease.room, _minus(hold.amount, actual))
        lease.calls -= 1
        lease.revision += 1
        lease.pool.spent = _plus(lease.pool.spent, actual)
        if lease.is_closing:
            self._return(lease)
        return actual.within(hold.amount)

    def void(self, hold: Hold) -> None:
        """Release a hold of which nothing was used."""
        self.settle(hold, NOTHING)

    def add(self, key: PoolKey, granted: Lease, now: float) -> Held | None:
        """Take a lease in hand; None if it is empty or known already."""
        shares = tuple(Share(s.budget_id, _INDEX[s.measure], s.granted) for s in granted.shares)
        if granted.lease_id in self._leases or not any(share.granted for share in shares):
            return None
        expires_at = None if granted.valid_for_ms is None else now + granted.valid_for_ms / 1000
        pool = self._pools.setdefault(key, Pool(key, granted_at=now, used_at=now))
        lease = Held(granted.lease_id, pool, shares, expires_at, _tightest(shares))
        pool.leases.append(lease)
        pool.spent_at_grant, pool.granted_at = pool.spent, now
        self._leases[lease.id] = lease
        return lease

    def room(self, key: PoolKey, now: float) -> Amount:
        """What the widest lease of the pool has left: the most that one call can hold."""
        pool = self._pools.get(key)
        open_leases = [lease for lease in pool.leases if not _is_expired(lease, now)] if pool else []
        return max((lease.room for lease in open_leases), default=NOTHING)

    def want(self, key: PoolKey, need: Amount, now: float, *, waiting: int = 0) -> Amount:
        """What to ask for: some calls like this one, what is under way, and seconds of what was spent of late."""
        pool = self._pools.get(key)
        calls = CALLS_AHEAD + waiting
        if pool is None:
            return Amount(*(calls * n for n in need))
        burn = self._burn(pool, now, AHEAD_S)
        held = [sum(parts) for parts in zip(*(lease.held for lease in pool.leases), strict=True)] or NOTHING
        return Amount(*(calls * n + h + b for n, h, b in zip(need, held, burn, strict=True)))

    def is_low(self, key: PoolKey, now: float) -> bool:
        """Whether less is left than is spent in LOW_S: time to renew, while calls still find room.

        Says so at most every LOOK_S.
        """
        pool = self._pools.get(key)
        if pool is None or not pool.leases or now < pool.looked_at + LOOK_S:
            return False
        pool.looked_at = now
        burn = self._burn(pool, now, LOW_S)
        room = [sum(parts) for parts in zip(*(lease.room for lease in pool.leases), strict=True)]
        return any(left < spent for left, spent in zip(room, burn, strict=True))

    def close_small(self, key: PoolKey, need: Amount) -> None:
        """Close the pool's leases that cannot hold `need`: their rest goes back with the request for a new one."""
        pool = self._pools.get(key)
        for lease in tuple(pool.leases if pool else ()):
            if not need.within(lease.room):
                self._close(lease)

    def close_others(self, key: PoolKey, budget_ids: Iterable[UUID]) -> bool:
        """Close every lease outside the pool that holds one of these budgets; whether there was any."""
        wanted = set(budget_ids)
        found = [
            lease
            for other, pool in self._pools.items()
            if other != key and not wanted.isdisjoint(other[1])
            for lease in pool.leases
        ]
        for lease in found:
            self._close(lease)
        return bool(found)

    def recall(self, lease_ids: Iterable[UUID]) -> None:
        """The service wants these back: what is not under way returns now, the rest as it settles."""
        for lease_id in lease_ids:
            if lease := self._leases.get(lease_id):
                self._close(lease)

    def close_all(self) -> None:
        """At the end of the process."""
        for lease in tuple(self._leases.values()):
            self._close(lease)

    def tick(self, now: float) -> None:
        """Close what has expired or lies idle, and forget pools and leases that are over."""
        for pool in self._pools.values():
            for lease in tuple(pool.leases):
                if _is_expired(lease, now) or (now - pool.used_at >= IDLE_S and not lease.calls):
                    self._close(lease)
        for key in [key for key, pool in self._pools.items() if not pool.leases and now - pool.used_at >= IDLE_S]:
            del self._pools[key]

    def reports(self, limit: int, *, within: PoolKey | None = None) -> list[Report]:
        """Of the leases that changed since the service last heard; only those that touch a pool's budgets if named."""
        wanted = set(within[1]) if within else None
        changed = (lease for lease in self._leases.values() if lease.revision != lease.reported)
        touching = (lease for lease in changed if wanted is None or not wanted.isdisjoint(lease.pool.key[1]))
        return [Report(lease, lease.revision, _wire(lease)) for lease, _ in zip(touching, range(limit), strict=False)]

    def acknowledge(self, reports: Iterable[Report]) -> None:
        """The service has taken these reports."""
        for lease, revision, _ in reports:
            lease.reported = max(lease.reported, revision)
            if lease.is_over:
                self._leases.pop(lease.id, None)

    def totals(self) -> Iterator[Total]:
        """Every lease in hand, for the journal's checkpoint."""
        return (Total(lease.id, lease.shares, lease.spent) for lease in self._leases.values())

    def __len__(self) -> int:
        return len(self._leases)

    def _burn(self, pool: Pool, now: float, seconds: int) -> Amount:
        elapsed_ms = max(50, int((now - pool.granted_at) * 1000))
        since = zip(pool.spent, pool.spent_at_grant, strict=True)
        return Amount(*((spent - before) * 1000 * seconds // elapsed_ms for spent, before in since))

    def _close(self, lease: Held) -> None:
        if not lease.is_closing:
            lease.is_closing = True
            lease.pool.leases.remove(lease)
        self._return(lease)

    def _return(self, lease: Held) -> None:
        """All that is not under way and was not spent."""
        for budget_id, measure, granted in lease.shares:
            idle = granted - lease.held[measure] - lease.spent[measure]
            if idle > lease.returned.get(budget_id, 0):
                lease.returned[budget_id] = idle
        lease.revision += 1


def amounts(amount: Amount) -> Amounts:
    """As the wire has it."""
    return Amounts(money=amount.money, requests=amount.requests, tokens=amount.tokens)


def _wire(lease: Held) -> LeaseReport:
    return LeaseReport(lease_id=lease.id, spent=amounts(lease.spent), returned=dict(lease.returned))


def _is_expired(lease: Held, now: float) -> bool:
    return lease.expires_at is not None and lease.expires_at <= now


def _tightest(shares: Iterable[Share]) -> Amount:
    """The least of each measure; a measure that no budget counts never runs out."""
    least = [_ENDLESS] * 3
    for share in shares:
        least[share.measure] = min(least[share.measure], share.granted)
    return Amount(*least)


def _plus(a: Amount, b: Amount) -> Amount:
    return Amount(a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _minus(a: Amount, b: Amount) -> Amount:
    return Amount(a[0] - b[0], a[1] - b[1], a[2] - b[2])
