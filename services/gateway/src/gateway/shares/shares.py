"""The gateway's half of the share protocol, without I/O (the budget service's half is `budget.shares.rules`).

A share is what this epoch holds of one budget window, in totals that only grow:

    room = granted + overdrawn − returned − spent − Σ reserves under way

A call reserves its worst case in every share of its path, all or none. It settles for what was charged and what is
uncertain; where that passes the reserve and room would be negative, the share is overdrawn by so much, which counts
here at once and at the service with the next message. What is not needed any more is returned.
Instants are seconds on a monotonic clock, given as arguments.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from farebox.events import Measure
from farebox.shares import ShareReport
from gateway.shares.amount import NOTHING, Amount

AHEAD_S: Final = 5
"""Seconds of recent spending that a raise is asked for."""
LOW_S: Final = 1
"""A share with less room than so many seconds of recent spending is raised before it is empty."""
LOOK_S: Final = 0.1
IDLE_S: Final = 120.0
"""A share that nobody drew on for so long gives all of it back, also where nobody else asks for it."""
FORGET_S: Final = 600.0
"""A share is remembered for so long after its window: an answer that comes late, or a service whose clock was set back,
must not find one without what was returned and spent of it."""
CALLS_AHEAD: Final = 4
"""A raise is asked for at least so many calls, so that a slow caller does not ask for one a call."""

MEASURES: Final[tuple[Measure, ...]] = ("money", "requests", "tokens")
"""The fields of Amount, in their order."""


class WindowKey(NamedTuple):
    """One window of one budget."""

    budget_id: UUID
    start: datetime


class Window(NamedTuple):
    """A hard budget's present window as a call meets it: `measure` is an index into Amount."""

    key: WindowKey
    measure: int
    ends_at: float | None


Path: TypeAlias = Sequence[Window]
"""The windows of all hard budgets that a call must pass, platform first."""


@dataclass(slots=True, eq=False)
class Share:
    """What this epoch holds of a window, in the budget's measure."""

    key: WindowKey
    measure: int
    ends_at: float | None
    granted: int = 0
    returned: int = 0
    overdrawn: int = 0
    spent: int = 0
    reserved: int = 0
    calls: int = 0
    used_at: float = 0.0
    raised_at: float = 0.0
    spent_at_raise: int = 0
    looked_at: float = 0.0
    told_returned: int = 0
    told_overdrawn: int = 0
    is_doubtful: bool = False
    """Whether the service may have granted more than was heard of."""
    is_recalled: bool = False

    @property
    def room(self) -> int:
        """What further calls can hold."""
        return self.granted + self.overdrawn - self.returned - self.spent - self.reserved

    @property
    def has_news(self) -> bool:
        """Whether the service has not heard of all that was returned and overdrawn, or should say what was granted."""
        return self.is_doubtful or self.returned != self.told_returned or self.overdrawn != self.told_overdrawn

    def give_back(self) -> None:
        """Return all that no call holds."""
        if self.room > 0:
            self.returned += self.room

    def settle(self, reserve: int, spent: int) -> None:
        """Put what a call spent in the place of its reserve."""
        self.reserved -= reserve
        self.spent += spent
        if self.room < 0:
            self.overdrawn -= self.room
        self.calls -= 1
        if self.is_recalled:
            self.give_back()

    def is_over(self, now: float) -> bool:
        return self.ends_at is not None and self.ends_at <= now


@dataclass(slots=True, eq=False)
class Hold:
    """A call's reserve in its shares, until it is settled or voided."""

    shares: tuple[Share, ...]
    amount: Amount
    is_open: bool = True


class Report(NamedTuple):
    """What to tell the service of a share, and the share."""

    share: Share
    wire: ShareReport


class Spent(NamedTuple):
    """What an epoch spent of a window, as the journal keeps it."""

    key: WindowKey
    measure: int
    amount: int


class Shares:
    """Every share of this epoch, by window."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._shares: dict[WindowKey, Share] = {}
        self._turn: Iterator[WindowKey] = iter(())

    def __len__(self) -> int:
        return len(self._shares)

    def reserve(self, path: Path, amount: Amount, now: float) -> Hold | None:
        """Hold `amount` in every share of the path, or in none: then `short` says which have too little."""
        shares = []
        for window in path:
            share = self._shares.get(window.key)
            if share is None and not amount[window.measure]:
                continue  # it costs nothing there: nothing needs holding
            if share is None or share.room < amount[window.measure] or share.is_over(now):
                return None
            shares.append(share)
        for share in shares:
            share.reserved += amount[share.measure]
            share.calls += 1
            share.used_at = now
            share.is_recalled = False
        return Hold(tuple(shares), amount)

    def settle(self, hold: Hold, spent: Amount) -> bool:
        """Turn a hold into spending; False if that is more than was held. A second time changes nothing."""
        if not hold.is_open:
            return True
        hold.is_open = False
        for share in hold.shares:
            share.settle(hold.amount[share.measure], spent[share.measure])
        return all(spent[share.measure] <= hold.amount[share.measure] for share in hold.shares)

    def void(self, hold: Hold) -> None:
        """Release a hold of which nothing was used."""
        self.settle(hold, NOTHING)

    def granted(self, window: Window, total: int, now: float) -> None:
        """The service's total of a share; an older one changes nothing."""
        share = self._shares.get(window.key)
        if share is None:
            share = self._shares[window.key] = Share(*window, used_at=now, raised_at=now)
        self.lasts(window)
        if total > share.granted:
            share.granted = total
            share.raised_at, share.spent_at_raise = now, share.spent

    def lasts(self, window: Window) -> None:
        """The window ends no earlier than this says."""
        share = self._shares.get(window.key)
        if share is not None and share.ends_at is not None and window.ends_at is not None:
            share.ends_at = max(share.ends_at, window.ends_at)

    def total(self, key: WindowKey, total: int) -> None:
        """As `granted`, for a share that is there."""
        if share := self._shares.get(key):
            share.granted = max(share.granted, total)

    def recalled(self, key: WindowKey, measure: Measure, total: int, now: float) -> None:
        """As `total`, for a share that somebody asks back. One that is not known here was granted with an answer that
        was lost."""
        if key not in self._shares:
            self._shares[key] = Share(key, MEASURES.index(measure), None, used_at=now, raised_at=now)
        self.total(key, total)

    def short(self, path: Path, amount: Amount) -> list[Window]:
        """The windows of the path that cannot hold so much."""
        return [window for window in path if self._room(window.key) < amount[window.measure]]

    def room(self, path: Path) -> Amount:
        """The most that one call can hold on the path, in each measure."""
        least = [1 << 62] * len(MEASURES)
        for window in path:
            least[window.measure] = min(least[window.measure], max(0, self._room(window.key)))
        return Amount(*least)

    def wanted(self, window: Window, *, least: int, need: int, now: float) -> tuple[int, int, int]:
        """Totals of `granted` to ask for: for `least`, for `need`, and with some calls and seconds ahead of need."""
        share = self._shares.get(window.key)
        if share is None:
            return least, need, CALLS_AHEAD * need
        burn = _burn(share, now, AHEAD_S)
        lacking = [max(0, amount - share.room) for amount in (least, need, max(CALLS_AHEAD * need, need + burn))]
        return share.granted + lacking[0], share.granted + lacking[1], share.granted + lacking[2]

    def low(self, hold: Hold, now: float) -> list[Window]:
        """Of a call's shares those with less than another such call needs, or than is spent in LOW_S: time to raise
        them, while calls still find room.

        Names each at most every LOOK_S.
        """
        found = []
        for share in hold.shares:
            if now >= share.looked_at + LOOK_S:
                share.looked_at = now
                if share.room < max(hold.amount[share.measure], _burn(share, now, LOW_S)):
                    found.append(Window(share.key, share.measure, share.ends_at))
        return found

    def recall(self, keys: Iterable[WindowKey]) -> None:
        """The service wants these back: what is not under way returns now, the rest as it settles."""
        for key in keys:
            if share := self._shares.get(key):
                share.is_recalled = True
                share.give_back()

    def close_all(self) -> None:
        """At the end of the process."""
        self.recall(tuple(self._shares))

    def tick(self, now: float) -> None:
        """Give back what is over or lies idle, and forget what is long over, returned and told of."""
        for key, share in tuple(self._shares.items()):
            if share.is_over(now) or (now - share.used_at >= self._idle_s and not share.calls):
                share.give_back()
            if share.is_over(now - FORGET_S) and not share.calls and not share.has_news:
                del self._shares[key]

    def reports(self, limit: int, *, also: int = 0, within: Collection[WindowKey] | None = None) -> list[Report]:
        """Of the shares with news, of these windows alone if named; then in turn of `also` others."""
        keys = self._shares if within is None else [key for key in within if key in self._shares]
        fresh = [share for key in keys if (share := self._shares[key]).has_news][:limit]
        return [_report(share) for share in (*fresh, *self._next(also, fresh))]

    def doubt(self, windows: Iterable[Window], now: float) -> None:
        """The answer to a raise of these was lost: the next report asks for their totals."""
        for window in windows:
            self.granted(window, 0, now)
            self._shares[window.key].is_doubtful = True

    def acknowledge(self, reports: Iterable[Report]) -> None:
        """The service has taken these reports."""
        for share, wire in reports:
            share.told_returned = max(share.told_returned, wire.returned)
            share.told_overdrawn = max(share.told_overdrawn, wire.overdrawn)
            share.is_doubtful = False

    def spent(self) -> Iterator[Spent]:
        """What was spent of every share, for the journal's checkpoint."""
        return (Spent(share.key, share.measure, share.spent) for share in self._shares.values() if share.spent)

    def in_hand(self, key: WindowKey) -> int:
        """What this gateway holds of a window and has not spent, what is under way included."""
        share = self._shares.get(key)
        return 0 if share is None else share.room + share.reserved

    def _room(self, key: WindowKey) -> int:
        share = self._shares.get(key)
        return 0 if share is None else share.room

    def _next(self, count: int, without: Sequence[Share]) -> list[Share]:
        """The next shares in turn, so that all are named sooner or later."""
        found: list[Share] = []
        for _ in range(min(count, len(self._shares))):
            key = next(self._turn, None)
            if key is None:
                self._turn = iter(tuple(self._shares))
                key = next(self._turn)
            if (share := self._shares.get(key)) and share not in without and share not in found:
                found.append(share)
        return found


def _report(share: Share) -> Report:
    wire = ShareReport(
        budget_id=share.key.budget_id,
        window_start=share.key.start,
        granted=share.granted,
        returned=share.returned,
        overdrawn=share.overdrawn,
    )
    return Report(share, wire)


def _burn(share: Share, now: float, seconds: int) -> int:
    elapsed_ms = max(50, int((now - share.raised_at) * 1000))
    return (share.spent - share.spent_at_raise) * 1000 * seconds // elapsed_ms
