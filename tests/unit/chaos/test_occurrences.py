"""The oracle sees whether a mark was told as often as it was crossed, and no more often."""

import pytest

from support.chaos_run import COST, World, crossed, resolved

REACHED, LEFT = COST, COST - 1


@pytest.fixture
def world() -> World:
    return World()


def test_a_mark_that_is_crossed_again_is_told_again(world: World) -> None:
    world.see_spent(REACHED, LEFT, REACHED)
    world.see_marks(crossed(), resolved(), crossed(2, notify_people=False))
    assert world.found() == set()


def test_a_real_alert_that_is_lost_after_a_false_one_is_missed(world: World) -> None:
    world.see_spent(REACHED, LEFT, REACHED)
    world.see_marks(crossed(), resolved())
    assert world.found() == {"missed alert event"}


def test_it_is_missed_also_where_no_balance_between_was_seen(world: World) -> None:
    world.see_marks(crossed(), resolved())
    assert world.found() == {"missed alert event"}


def test_what_was_reached_twice_and_told_once_is_missed(world: World) -> None:
    world.see_spent(REACHED, LEFT, REACHED)
    world.see_marks(crossed())
    assert world.found() == {"missed alert event"}


def test_an_occurrence_that_begins_before_the_last_is_over_is_needless(world: World) -> None:
    world.see_marks(crossed(), crossed(2, notify_people=False))
    assert world.found() == {"needless alert event"}


def test_what_suspense_reached_is_told_once_more_when_it_is_posted(world: World) -> None:
    world.see_marks(crossed(provisional=True, notify_people=False), crossed(2))
    assert world.found() == set()


def test_what_is_really_reached_and_was_told_of_suspense_alone_is_missed(world: World) -> None:
    world.see_marks(crossed(provisional=True, notify_people=False))
    assert world.found() == {"missed alert event"}


def test_an_end_of_what_never_began_and_one_told_twice_are_found(world: World) -> None:
    world.see_marks(crossed(), resolved(), resolved(), resolved(7), crossed(2, notify_people=False))
    assert world.found() == {"needless alert event", "doubled alert event"}


def test_a_mark_that_was_left_and_not_resolved_is_found(world: World) -> None:
    world.see_spent(REACHED, LEFT)
    world.see_marks(crossed())
    world.see(windows=[{**world.evidence.windows[0], "posted": LEFT}])
    assert "missed alert event" in world.found()


def test_people_who_hear_of_a_mark_twice_in_a_run_hear_too_often(world: World) -> None:
    world.see_marks(crossed(), resolved(), crossed(2))
    assert world.found() == {"needless mail"}


def test_people_who_hear_of_a_false_alarm_are_found(world: World) -> None:
    world.see_marks(crossed(provisional=True), crossed(2, notify_people=False))
    assert world.found() == {"needless mail"}
