"""Rollup hours and days that cover a range of time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import BadSpan
from metering.span import DAYS_MAX, Span

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
instants = st.integers(0, 7 * 86_400).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "covered"),
    [
        (at(1), at(3), (at(1), at(1), at(3), at(3))),
        (at(1, 17), at(3, 17), (at(1, 17), at(2), at(3), at(3, 17))),
        (at(1, 3), at(1, 5), (at(1, 3), at(1, 5), at(1, 5), at(1, 5))),
        (at(1, 3, 30), at(1, 3, 31), (at(1, 3), at(1, 4), at(1, 4), at(1, 4))),
        (at(1, 23), at(2, 1), (at(1, 23), at(2), at(2), at(2, 1))),
        (at(1), at(1, 5), (at(1), at(1), at(1), at(1, 5))),
    ],
)
def test_whole_days_in_the_middle_hours_around(start: datetime, end: datetime, covered: tuple[datetime, ...]) -> None:
    span = Span.covering(start, end)
    assert (span.start, span.first_day, span.last_day, span.end) == covered


@given(instants, instants)
def test_every_hour_is_covered_exactly_once(one: datetime, other: datetime) -> None:
    start, end = min(one, other), max(one, other) + timedelta(seconds=1)
    span = Span.covering(start, end)
    hours = (span.first_day - span.start) / HOUR + 24 * ((span.last_day - span.first_day) / DAY)
    assert hours + (span.end - span.last_day) / HOUR == (span.end - span.start) / HOUR
    assert span.start <= start < span.start + HOUR
    assert span.end - HOUR < end <= span.end


@pytest.mark.parametrize(
    ("start", "end"),
    [(at(2), at(1)), (at(1), at(1)), (at(1), at(1) + (DAYS_MAX + 1) * DAY)],
)
def test_a_span_that_is_none_or_endless_is_refused(start: datetime, end: datetime) -> None:
    with pytest.raises(BadSpan):
        Span.covering(start, end)
