"""The time by which calls are priced and charged."""

from datetime import UTC, datetime, timedelta

from gateway.budget_link.books_clock import BooksClock
from support.clock import HandClock

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_until_the_books_have_told_their_time_it_is_the_machines() -> None:
    assert BooksClock(HandClock(NOON)).now() == NOON


def test_a_machine_whose_clock_is_an_hour_off_goes_by_the_books() -> None:
    machine = HandClock(NOON - HOUR)
    clock = BooksClock(machine)
    clock.heard(NOON, machine.monotonic())
    machine.move(SECOND)
    assert clock.now() == NOON + SECOND


def test_setting_the_machines_clock_changes_nothing_once_the_books_were_heard() -> None:
    machine = HandClock(NOON)
    clock = BooksClock(machine)
    clock.heard(NOON, machine.monotonic())
    machine.jump(24 * HOUR)
    assert clock.now() == NOON


def test_books_that_fail_over_to_another_clock_are_followed() -> None:
    machine = HandClock(NOON)
    clock = BooksClock(machine)
    clock.heard(NOON, machine.monotonic())
    clock.heard(NOON + HOUR, machine.monotonic())
    assert clock.now() == NOON + HOUR


def test_an_answer_that_was_long_on_its_way_does_not_set_the_clock_back() -> None:
    machine = HandClock(NOON)
    clock = BooksClock(machine)
    clock.heard(NOON, machine.monotonic())
    asked_at = machine.monotonic()
    machine.move(3 * SECOND)
    clock.heard(NOON, asked_at)
    assert clock.now() == NOON + 3 * SECOND
