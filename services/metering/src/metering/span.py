"""A range of time to sum up, and how rollups cover it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from metering.errors import BadSpan

DAYS_MAX: Final = 3_700
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end) in whole UTC hours: whole UTC days [first_day, last_day) within, hours on either side."""

    start: datetime
    first_day: datetime
    last_day: datetime
    end: datetime

    @classmethod
    def covering(cls, start: datetime, end: datetime) -> "Span":
        """The smallest span of whole hours that covers [start, end). Raises BadSpan."""
        if start >= end:
            raise BadSpan("from: must be earlier than to")
        if end - start > timedelta(days=DAYS_MAX):
            raise BadSpan(f"from: at most {DAYS_MAX} days before to")
        first, last = _hour_before(start), _hour_before(end)
        if last < end:
            last += _HOUR
        first_day = first if first.hour == 0 else _midnight(first) + timedelta(days=1)
        last_day = _midnight(last)
        if first_day > last_day:  # within one day: hours alone
            first_day = last_day = last
        return cls(first, first_day, last_day, last)


def _hour_before(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0)
