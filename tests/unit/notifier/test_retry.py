from datetime import UTC, datetime

import pytest

from notifier.retry import MAIL, WEBHOOK, Schedule, retry_after_s

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def planned(schedule: Schedule, attempts: int, retry_after: float | None = None, jitter: float = 0.0) -> float | None:
    return schedule.delay_s(attempts, retry_after_s=retry_after, jitter=jitter)


def test_webhooks_keep_the_schedule_of_standard_webhooks() -> None:
    minutes, hours = 60, 3600
    delays = [planned(WEBHOOK, attempts) for attempts in range(1, 11)]
    expected = [5, 5 * minutes, 30 * minutes, 2 * hours, 5 * hours, 10 * hours, 14 * hours, 20 * hours, 24 * hours]
    assert delays == [*expected, None]


def test_mail_is_given_up_within_a_day() -> None:
    delays = [planned(MAIL, attempts, jitter=1.0) or 0.0 for attempts in range(1, 10)]
    assert sum(delays) < 24 * 3600
    assert planned(MAIL, 10) is None


def test_jitter_only_ever_waits_longer_and_by_a_tenth_at_most() -> None:
    assert planned(WEBHOOK, 2, jitter=0.5) == 315
    assert planned(WEBHOOK, 2, jitter=1.0) == 330


@pytest.mark.parametrize(("asked", "delay"), [(None, 5), (1, 5), (60, 60), (10**9, 86_400)])
def test_the_later_of_schedule_and_retry_after_counts_up_to_a_day(asked: float | None, delay: float) -> None:
    assert planned(WEBHOOK, 1, asked) == delay


def test_retry_after_does_not_lengthen_the_schedule() -> None:
    assert planned(WEBHOOK, 10, 60) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 0 ", 0),
        ("99999999999999999999", 86_400),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Sat, 99 Nov 2026 12:00:00 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds
