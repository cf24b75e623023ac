"""Clocks for tests."""

from datetime import datetime, timedelta

from farebox.clock import SystemClock


class HandClock:
    """A clock that moves when told."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def move(self, by: timedelta) -> None:
        """Time passes."""
        self._monotonic += by.total_seconds()
        self.jump(by)

    def jump(self, by: timedelta) -> None:
        """Somebody sets the wall clock."""
        self._now += by


class JumpingClock(SystemClock):
    """The machine's clocks, but for a wall clock that somebody sets."""

    def __init__(self) -> None:
        self._off = timedelta()

    def now(self) -> datetime:
        return super().now() + self._off

    def jump(self, by: timedelta) -> None:
        """Somebody sets the wall clock."""
        self._off += by
