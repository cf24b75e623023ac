"""The budget service's half of the share protocol, without I/O (the gateway's half is `gateway.shares.shares`).

A window holds `posted + escrowed + suspended + uncertain <= limit`. A share is what one gateway epoch holds of it:

    held = max(0, granted + overdrawn − returned − posted)

Each of the four only grows, and of two totals the larger is true. A window's escrow is the sum of what its shares hold;
the shares of lost gateways are counted in `suspended` instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from farebox.events import Measure

SHARE_OF_REMAINING: Final = 8
"""Ahead of need, a raise takes at most 1/8 of what an equal part of the remainder is for a gateway."""

WindowKey = tuple[UUID, datetime]


class ShareKey(NamedTuple):
    """Of one window, what one epoch of one gateway holds."""

    budget_id: UUID
    window_start: datetime
    gateway_id: str
    epoch: int

    @property
    def window(self) -> WindowKey:
        return self.budget_id, self.window_start


class Obstacle(StrEnum):
    """What stands in the way of a raise; the more final comes first."""

    SPENT = "spent"
    """Charges posted leave too little: only another window or limit helps."""
    SUSPENDED = "suspended"
    """So does what lost gateways may have spent, or providers may have billed: somebody must say that they did not."""
    HELD = "held"
    """Nothing but shares: idle, under way, or spent and not posted yet. What they return may be given to others."""


@dataclass(frozen=True, slots=True)
class Room:
    """A budget window's figures while its row is locked, in the budget's own measure."""

    key: WindowKey
    measure: Measure
    limit: int
    posted: int
    escrowed: int
    suspended: int
    uncertain: int = 0
    is_hard: bool = True
    is_over: bool = False

    @property
    def free(self) -> int:
        """What can still be given out; never below 0."""
        return max(0, self.limit - self.out)

    @property
    def out(self) -> int:
        """All that is spent or may be."""
        return self.posted + self.escrowed + self.suspended + self.uncertain

    @property
    def spent(self) -> int:
        """Charges posted, and what a lost gateway may have spent."""
        return self.posted + self.suspended

    def obstacle(self, amount: int) -> Obstacle | None:
        """What keeps so much from being given out; None if it fits."""
        if amount <= self.free:
            return None
        if self.posted + amount > self.limit:
            return Obstacle.SPENT
        return Obstacle.SUSPENDED if self.out - self.escrowed + amount > self.limit else Obstacle.HELD

    def moved(self, *, posted: int = 0, escrowed: int = 0, suspended: int = 0, uncertain: int = 0) -> "Room":
        """The window after the moves. `is_over` says whether more is out than the limit allows."""
        after = Room(  # not `replace`, which costs five times as much: a beat moves thousands
            self.key,
            self.measure,
            self.limit,
            self.posted + posted,
            self.escrowed + escrowed,
            self.suspended + suspended,
            self.uncertain + uncertain,
            self.is_hard,
        )
        return replace(after, is_over=True) if after.out > after.limit else after

    def promised(self, amount: int) -> "Room":
        """The window with a raise in escrow. Leaves `is_over` as it is: the table's CHECK refuses a wrong raise."""
        return replace(self, escrowed=self.escrowed + amount)

    def limited(self, limit: int, *, is_hard: bool) -> "Room":
        """The window under another limit; what is out already stays out."""
        return replace(self, limit=limit, is_hard=is_hard).moved()


@dataclass(frozen=True, slots=True)
class Share:
    """A share as stored. `is_final` says that its epoch is over and its spending known."""

    key: ShareKey
    granted: int = 0
    returned: int = 0
    overdrawn: int = 0
    posted: int = 0
    is_suspended: bool = False
    is_final: bool = False

    @property
    def held(self) -> int:
        """What the window still holds for it."""
        return max(0, self.granted + self.overdrawn - self.returned - self.posted)

    def raised(self, granted: int) -> "Share":
        """The share once so much is granted in all."""
        return replace(self, granted=max(self.granted, granted))

    def reported(self, *, granted: int = 0, returned: int, overdrawn: int) -> "Share":
        """The share after a gateway's totals; older ones change nothing. What it was granted, it was granted, also
        where the database was set back to an instant before."""
        if granted <= self.granted and returned <= self.returned and overdrawn <= self.overdrawn:
            return self
        return Share(  # not `replace`: as in `Room.moved`
            self.key,
            max(self.granted, granted),
            max(self.returned, returned),
            max(self.overdrawn, overdrawn),
            self.posted,
            self.is_suspended,
            self.is_final,
        )

    def ended(self, spent: int) -> "Share":
        """The share when its epoch is over and this is all that it spent: what remains held is still to be posted.
        Nothing of it is in suspense any more."""
        overdrawn = max(self.overdrawn, spent + self.returned - self.granted)
        returned = max(self.returned, self.granted + overdrawn - spent)
        return replace(self, overdrawn=overdrawn, returned=returned, is_final=True, is_suspended=False)

    def released(self) -> "Share":
        """The share when somebody vouches that nothing of it is spent beyond what is posted."""
        return replace(self, returned=self.returned + self.held)

    def revived(self) -> "Share":
        """The share of a gateway that was taken for lost and speaks again."""
        return replace(self, is_suspended=False)

    def charged(self, settled: int) -> "Share":
        """The share after an attempt was posted that its gateway had settled for so much."""
        return replace(self, posted=self.posted + settled)


class OwnShare(NamedTuple):
    """What a gateway is told of a share of its own, and what it told of it."""

    measure: Measure
    granted: int
    returned: int
    overdrawn: int
    is_suspended: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """More of one window, in three amounts, each at least the one before: see `farebox.shares.WindowAsk`."""

    least: int
    need: int
    want: int


@dataclass(frozen=True, slots=True)
class Raised:
    """How much more each window gives."""

    more: Mapping[WindowKey, int]


@dataclass(frozen=True, slots=True)
class Short:
    """`key` is the first window, in the order given, that has less than the least; `obstacle` the most final of all."""

    key: WindowKey
    obstacle: Obstacle


def raise_all(
    rooms: Sequence[Room], wanted: Mapping[WindowKey, Wanted], holders: Mapping[WindowKey, int]
) -> Raised | Short:
    """Size a raise of every window, platform first, or name the one that is short. `holders` counts the gateways that
    hold a share of a window, the one that asks included."""
    found = {room.key: obstacle for room in rooms if (obstacle := room.obstacle(wanted[room.key].least))}
    if found:
        return Short(next(iter(found)), min(found.values(), key=list(Obstacle).index))
    return Raised({room.key: _size(room.free, wanted[room.key], holders.get(room.key, 1)) for room in rooms})


def _size(free: int, wanted: Wanted, holders: int) -> int:
    """Plenty: what is wanted, up to a small part. Near the limit: exactly one request. At the limit: what is left."""
    ahead = min(wanted.want, free // (SHARE_OF_REMAINING * max(1, holders)))
    return max(ahead, min(wanted.need, free))


def release(before: Share, after: Share, room: Room) -> Room:
    """The window once `before` has become `after`: what the share no longer holds is free, or spent, again."""
    escrowed = (0 if after.is_suspended else after.held) - (0 if before.is_suspended else before.held)
    return room.moved(escrowed=escrowed, suspended=after.held - before.held - escrowed)


@dataclass(slots=True)
class Positions:
    """Windows and the shares in them, all locked, and what has become of them."""

    rooms: dict[WindowKey, Room]
    shares: dict[ShareKey, Share]
    touched: set[ShareKey] = field(default_factory=set)

    def share(self, key: ShareKey) -> Share:
        """As it is now; of one that is not there, an empty one."""
        return self.shares.get(key) or Share(key)

    def become(self, after: Share) -> None:
        """Put a share in place of what it was, and move its window's figures with it."""
        before = self.share(after.key)
        if after != before:
            window = after.key.window
            self.rooms[window] = release(before, after, self.rooms[window])
            self.shares[after.key] = after
            self.touched.add(after.key)

    def raised(self, key: ShareKey, more: int) -> None:
        """Give a share more of its window. The table's CHECK judges it. Who asks is not lost."""
        self.become(self.share(key).revived())
        before = self.share(key)
        after = before.raised(before.granted + more)
        window = key.window
        self.rooms[window] = self.rooms[window].promised(after.held - before.held)
        self.shares[key] = after
        self.touched.add(key)

    def suspend(self, keys: Iterable[ShareKey]) -> None:
        """Their gateway is gone and has not said what it spent: what they hold counts as spent."""
        for key in keys:
            self.become(replace(self.share(key), is_suspended=True))

    def holders(self, asking: str) -> dict[WindowKey, int]:
        """Of each window, how many gateways hold something, the one that asks included."""
        found: dict[WindowKey, set[str]] = {}
        for share in self.shares.values():
            if share.held and not share.is_suspended and not share.is_final:
                found.setdefault(share.key.window, {asking}).add(share.key.gateway_id)
        return {window: len(gateways) for window, gateways in found.items()}
