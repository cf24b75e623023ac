"""Windows: the spans of time in which a limit counts, computed from an instant and the budget's own zone.

Nothing resets a counter: a new span simply has a row of its own.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Literal, assert_never
from zoneinfo import ZoneInfo

Kind = Literal["day", "week", "month", "lifetime"]

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Start of the one window of a lifetime budget."""


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end) in UTC; a lifetime has no end."""

    start: datetime
    end: datetime | None

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class Calendar:
    """How a budget divides time. `zone` is an IANA name, `week_start` an ISO weekday (1 = Monday)."""

    kind: Kind
    zone: str
    week_start: int = 1

    def span(self, at: datetime) -> Span:
        """The window that holds `at`. Days begin at local midnight, so they last 23 to 25 hours where clocks change."""
        zone = _zone(self.zone)
        today = at.astimezone(zone).date()
        match self.kind:
            case "lifetime":
                return Span(BEGINNING, None)
            case "day":
                first, after = today, today + timedelta(days=1)
            case "week":
                first = today - timedelta(days=(today.isoweekday() - self.week_start) % 7)
                after = first + timedelta(days=7)
            case "month":
                first = today.replace(day=1)
                after = (first + timedelta(days=31)).replace(day=1)
            case unknown:
                assert_never(unknown)
        return Span(_midnight(first, zone), _midnight(after, zone))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
