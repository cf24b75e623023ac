"""The only place that reads the world's clock.

The core takes instants as arguments; shells take a `Clock` and ask it. Instants are timezone-aware UTC
`datetime`s; durations that decide anything (lease life, backoff) come from `monotonic`, because wall clocks jump.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a shell needs of time; tests pass a hand-driven one."""

    def now(self) -> datetime:
        """The wall clock, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
