"""The books' time as this gateway counts it: prices and charges go by it, whatever the machine's clock shows."""

from datetime import datetime, timedelta
from typing import Final

import structlog

from farebox.clock import Clock

log = structlog.get_logger()

TOLERATED: Final = timedelta(seconds=1)
"""A message is on its way for so long: a smaller difference is none."""
TOLD_FROM: Final = timedelta(minutes=1)


class BooksClock:
    """A Clock. Its wall clock is the machine's until the books have told theirs; from then on it is theirs, counted on
    the monotonic clock, so that no setting of the machine's changes it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        if self._anchor is None:
            return self._clock.now()
        at, then = self._anchor
        return at + timedelta(seconds=self._clock.monotonic() - then)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def heard(self, books: datetime, asked_at: float) -> None:
        """The books showed this when they answered what was asked then (monotonic)."""
        late = timedelta(seconds=self._clock.monotonic() - asked_at)
        if late > TOLERATED and self._anchor is not None:
            return  # an answer that took so long tells less than what is known
        if self._anchor is None and abs(off := self._clock.now() - books) > TOLD_FROM:
            log.warning("clock_differs_from_the_books", books=books.isoformat(), off_s=round(off.total_seconds()))
        if self._anchor is None or abs(self.now() - books) > TOLERATED:
            self._anchor = books, self._clock.monotonic()
