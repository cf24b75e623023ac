"""Windows follow the budget's own zone, whatever its clocks do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget.budgets.windows import Calendar, Kind

ZONES = ["UTC", "Asia/Seoul", "Asia/Ho_Chi_Minh", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("calendar", "instant", "start", "end"),
    [
        (
            Calendar("day", "Asia/Seoul"),
            "2026-03-01T23:59:59+09:00",
            "2026-03-01T00:00+09:00",
            "2026-03-02T00:00+09:00",
        ),
        (
            Calendar("day", "Asia/Seoul"),
            "2026-03-02T00:00:00+09:00",
            "2026-03-02T00:00+09:00",
            "2026-03-03T00:00+09:00",
        ),
        (Calendar("week", "UTC"), "2026-03-08T12:00Z", "2026-03-02T00:00Z", "2026-03-09T00:00Z"),
        (Calendar("week", "UTC", 7), "2026-03-08T12:00Z", "2026-03-08T00:00Z", "2026-03-15T00:00Z"),
        (Calendar("month", "Asia/Ho_Chi_Minh"), "2026-01-31T18:00Z", "2026-01-31T17:00Z", "2026-02-28T17:00Z"),
        (Calendar("month", "UTC"), "2028-02-29T00:00Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
        (Calendar("month", "UTC"), "2026-12-31T23:00Z", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
    ],
)
def test_a_window_holds_its_instant(calendar: Calendar, instant: str, start: str, end: str) -> None:
    span = calendar.span(at(instant))
    assert (span.start, span.end) == (at(start), at(end))


def test_a_day_is_short_or_long_where_clocks_change() -> None:
    spring, autumn = at("2026-03-08T12:00-04:00"), at("2026-11-01T12:00-05:00")
    spans = [Calendar("day", "America/New_York").span(instant) for instant in (spring, autumn)]
    assert [span.end - span.start for span in spans if span.end] == [timedelta(hours=23), timedelta(hours=25)]


def test_a_lifetime_never_ends() -> None:
    span = Calendar("lifetime", "UTC").span(at("2026-03-08T12:00Z"))
    assert span.end is None
    assert at("2099-01-01T00:00Z") in span


@given(
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from(ZONES),
    st.integers(1, 7),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
)
def test_windows_tile_time(kind: Kind, zone: str, week_start: int, instant: datetime) -> None:
    calendar = Calendar(kind, zone, week_start)
    span = calendar.span(instant)
    assert span.end is not None
    assert instant in span
    assert calendar.span(span.end).start == span.end
    assert calendar.span(span.end - timedelta(microseconds=1)) == span
