"""Alerts are judged by the bill, whatever our own balances say, and by what subscribers heard last."""

from dataclasses import replace
from uuid import uuid4

import pytest

from chaos.evidence import Told
from farebox.events import ThresholdCrossed, ThresholdResolved
from support.chaos_run import COST, World


@pytest.fixture
def world() -> World:
    return World()


def resolved(told: Told, *, revision: int) -> Told:
    """The same mark, un-crossed later."""
    crossed = told.event
    assert isinstance(crossed, ThresholdCrossed)
    state = crossed.budget.model_copy(update={"revision": revision})
    event = ThresholdResolved(budget=state, locale=crossed.locale, threshold=crossed.threshold)
    return Told(str(uuid4()), 1, event)


def test_a_mark_that_the_bill_reached_and_the_books_did_not_is_missed(world: World) -> None:
    world.see(events=[], hooks={}, windows=[world.window(posted=0)])
    assert "missed alert event" in world.found()


def test_a_mark_whose_last_word_is_that_it_is_resolved_is_missed_if_the_bill_is_above_it(world: World) -> None:
    (told,) = world.evidence.events
    world.tell([told, resolved(told, revision=3)])
    assert world.found() == {"missed alert event"}


def test_a_mark_that_is_crossed_again_after_it_was_resolved_is_told_again(world: World) -> None:
    (told,) = world.evidence.events
    state = told.event.budget.model_copy(update={"revision": 4})
    again = Told(
        str(uuid4()), 1, told.event.model_copy(update={"budget": state, "occurrence": 2, "notify_people": False})
    )
    world.tell([told, resolved(told, revision=3), again])
    assert world.found() == set()


def test_a_mark_that_the_bill_cannot_have_reached_is_needless(world: World) -> None:
    world.budget.limits = {1: 10 * COST}
    world.see(windows=[world.window(posted=9 * COST)])
    assert "needless alert event" in world.found()


def test_what_nobody_reported_may_be_charged_at_more_than_the_bill(world: World) -> None:
    world.budget.limits = {1: 5 * COST}
    world.call(2, fault="no_usage", is_whole=True)
    assert world.verdict().count("needless alert event") == 1  # by the books
    world.see(windows=[world.window(posted=3 * COST)])
    assert world.verdict().count("needless alert event") == 0


def test_a_mark_told_twice_without_being_resolved_is_doubled(world: World) -> None:
    (told,) = world.evidence.events
    world.tell([told, replace(told, id=str(uuid4()))])
    assert "doubled alert event" in world.found()
