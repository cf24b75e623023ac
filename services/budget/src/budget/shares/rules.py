"""The budget service's half of the lease protocol, without I/O (the gateway's half is `gateway.shares.leases`).

A window holds `posted + escrowed + suspended <= limit`. A grant moves free room into escrow, in every hard window on a
path or in none; a return moves it back; a posting turns it into spending (see `posting`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from farebox.events import Measure
from farebox.leasing import LeaseReport

SHARE_OF_REMAINING: Final = 8
"""Ahead of need, one lease takes at most 1/8 of what a live gateway's equal part of the remainder is."""

WindowKey = tuple[UUID, datetime]


class Obstacle(StrEnum):
    """What stands in the way of a promise; the more final comes first."""

    SPENT = "spent"
    """Charges posted leave too little: only another window or limit helps."""
    SUSPENDED = "suspended"
    """So does what a lost gateway may have spent: somebody must say that it did not."""
    HELD = "held"
    """Nothing but leases: idle, under way, or spent and not posted yet. What they return may be promised."""


@dataclass(frozen=True, slots=True)
class Room:
    """A budget window's figures while its row is locked, in the budget's own measure."""

    key: WindowKey
    measure: Measure
    limit: int
    posted: int
    escrowed: int
    suspended: int
    is_hard: bool = True
    is_over: bool = False

    @property
    def free(self) -> int:
        """What can still be promised; never below 0."""
        return max(0, self.limit - self.posted - self.escrowed - self.suspended)

    @property
    def spent(self) -> int:
        """Charges posted, and what a lost gateway may have spent."""
        return self.posted + self.suspended

    def obstacle(self, amount: int) -> Obstacle | None:
        """What keeps so much from being promised; None if it fits."""
        if amount <= self.free:
            return None
        if self.posted + amount > self.limit:
            return Obstacle.SPENT
        return Obstacle.SUSPENDED if self.spent + amount > self.limit else Obstacle.HELD

    def moved(self, *, posted: int = 0, escrowed: int = 0, suspended: int = 0) -> "Room":
        """The window after the moves. `is_over` says whether more is out than the limit allows."""
        after = replace(
            self,
            posted=self.posted + posted,
            escrowed=self.escrowed + escrowed,
            suspended=self.suspended + suspended,
        )
        return replace(after, is_over=after.posted + after.escrowed + after.suspended > after.limit)

    def promised(self, amount: int) -> "Room":
        """The window with a grant in escrow. Leaves `is_over` as it is: the table's CHECK refuses a wrong grant."""
        return replace(self, escrowed=self.escrowed + amount)

    def limited(self, limit: int, *, is_hard: bool) -> "Room":
        """The window under another limit; what is out already stays out."""
        return replace(self, limit=limit, is_hard=is_hard).moved()


@dataclass(frozen=True, slots=True)
class Ask:
    """Three figures in one measure, each at least the one before: see `farebox.leasing.GrantRequest`."""

    least: int
    need: int
    want: int


@dataclass(frozen=True, slots=True)
class Granted:
    """What each window gives. Budgets of one measure give the same amount."""

    amounts: Mapping[WindowKey, int]


@dataclass(frozen=True, slots=True)
class Short:
    """`key` is the first window, in the order given, that has less than the least; `obstacle` the most final of all."""

    key: WindowKey
    obstacle: Obstacle


def grant(rooms: Sequence[Room], asks: Mapping[Measure, Ask], *, live_gateways: int) -> Granted | Short:
    """Size a lease over all `rooms` (hard windows, platform first), or name the one that is short.

    Every measure takes the smallest amount any of its windows would give, so that all levels hold the same. Where
    nothing is asked for, nothing is held.
    """
    found = {room.key: obstacle for room in rooms if (obstacle := room.obstacle(asks[room.measure].least))}
    if found:
        return Short(next(iter(found)), min(found.values(), key=list(Obstacle).index))
    sizes: dict[Measure, int] = {}
    for room in rooms:
        size = _size(room.free, asks[room.measure], live_gateways)
        sizes[room.measure] = min(size, sizes.get(room.measure, size))
    if not any(sizes.values()):
        return Granted({})
    return Granted({room.key: sizes[room.measure] for room in rooms})


def _size(free: int, ask: Ask, live_gateways: int) -> int:
    """Plenty: what is wanted, up to a small share. Near the limit: exactly one request. At the limit: what is left."""
    ahead = min(ask.want, free // (SHARE_OF_REMAINING * max(1, live_gateways)))
    return max(ahead, min(ask.need, free))


@dataclass(frozen=True, slots=True)
class ShareState:
    """A lease's part in one window, as stored."""

    lease_id: UUID
    key: WindowKey
    granted: int
    posted: int = 0
    returned: int = 0
    spent: int = 0
    is_suspended: bool = False

    @property
    def held(self) -> int:
        """What the window still holds for this lease."""
        return max(0, self.granted - self.returned - self.posted)

    def reported(self, *, spent: int, returned: int) -> "ShareState":
        """The share after a gateway's cumulative report. Old or repeated reports change nothing.

        No report can return what is already posted, or what the gateway itself says was spent.
        """
        spent = max(spent, self.spent)
        most = max(0, self.granted - max(self.posted, spent))
        return replace(self, spent=spent, returned=max(self.returned, min(returned, most)))

    def closed(self) -> "ShareState":
        """The share when its gateway will never use it again: all that was not spent is returned."""
        return self.reported(spent=self.spent, returned=self.granted)

    def charged(self, amount: int) -> "ShareState":
        """The share after an attempt that the gateway settled for so much was posted."""
        return replace(self, posted=self.posted + amount)


def release(before: ShareState, after: ShareState, room: Room) -> Room:
    """The window once `before` has become `after`: what the lease no longer holds is free, or spent, again."""
    freed = before.held - after.held
    return room.moved(suspended=-freed) if before.is_suspended else room.moved(escrowed=-freed)


def suspend(share: ShareState, room: Room) -> tuple[ShareState, Room]:
    """A gateway is lost with its journal: what its lease holds counts as spent until somebody knows better."""
    if share.is_suspended:
        return share, room
    return replace(share, is_suspended=True), room.moved(escrowed=-share.held, suspended=share.held)


@dataclass(slots=True)
class Desk:
    """Shares and the windows they are in, all locked, and what has become of them."""

    rooms: dict[WindowKey, Room]
    shares: dict[tuple[UUID, UUID], ShareState]
    touched: set[tuple[UUID, UUID]] = field(default_factory=set)

    def shares_of(self, lease_id: UUID) -> list[ShareState]:
        return [share for (lease, _), share in self.shares.items() if lease == lease_id]

    def report(self, report: LeaseReport) -> None:
        """Take a gateway's cumulative word on one lease. Budgets it does not name return nothing."""
        for share in self.shares_of(report.lease_id):
            spent = report.spent.of(self.rooms[share.key].measure)
            self._become(share, share.reported(spent=spent, returned=report.returned.get(share.key[0], 0)))

    def close(self, lease_id: UUID) -> None:
        """The lease will never be used again, and all that was said of it is known: the rest is free."""
        for share in self.shares_of(lease_id):
            self._become(share, share.closed())

    def suspend(self, lease_id: UUID) -> None:
        """The gateway is gone and has said nothing of the lease: what it holds counts as spent."""
        for share in self.shares_of(lease_id):
            self.shares[lease_id, share.key[0]], self.rooms[share.key] = suspend(share, self.rooms[share.key])
            self.touched.add((lease_id, share.key[0]))

    def _become(self, before: ShareState, after: ShareState) -> None:
        if after != before:
            self.rooms[before.key] = release(before, after, self.rooms[before.key])
            self.shares[before.lease_id, before.key[0]] = after
            self.touched.add((before.lease_id, before.key[0]))
