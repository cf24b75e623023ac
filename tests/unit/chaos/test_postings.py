"""Every entry is posted where its call was admitted: Σ ledger = Σ posted, window by window."""

from datetime import timedelta

import pytest

from chaos.budgets import PAUSED, Phase, Target
from support.chaos_run import COST, NOON, World, attempt, changed_rows


@pytest.fixture
def world() -> World:
    """A day ends between its two calls."""
    world = World()
    world.move(2, 60.0)
    world.budget.midnights = (30.0,)
    world.budget.thresholds = ()
    before, after = (world.window(posted=COST, start=NOON + timedelta(seconds=at)) for at in (-86_370.0, 30.0))
    world.see(windows=[before, after], events=[], hooks={}, mails=[], crossings=[], deliveries=[])
    return world


def test_a_call_posted_to_the_window_it_was_admitted_in_is_right(world: World) -> None:
    assert world.found() == set()


def test_a_call_posted_to_the_day_before_is_found(world: World) -> None:
    before, after = world.evidence.windows
    world.see(windows=[{**before, "posted": 2 * COST}, {**after, "posted": 0}])
    assert world.found() == {"posted to another window"}


def test_a_call_at_midnight_may_be_posted_to_either_day(world: World) -> None:
    world.move(2, 33.0)
    before, after = world.evidence.windows
    for first, second in ((COST, COST), (2 * COST, 0)):
        world.see(windows=[{**before, "posted": first}, {**after, "posted": second}])
        assert world.found() == set()


def test_a_charge_that_a_narrowed_budget_does_not_count_is_found_in_it(world: World) -> None:
    world.budget.narrowed_to = Target(provider="anthropic")
    assert world.found() == {"charged twice"}


def test_a_charge_that_a_narrowed_budget_counts_is_missed_in_it(world: World) -> None:
    world.budget.narrowed_to = Target(model="gpt-4o-mini")
    world.bill(2, model="gpt-4o-mini-2024-07-18")
    world.see(windows=changed_rows(world.evidence.windows, posted=0))
    assert "not posted" in world.found()


def test_what_is_charged_while_a_budget_is_paused_may_be_posted_or_not(world: World) -> None:
    world.budget.phases = [Phase("hard"), Phase(PAUSED, 50.0, 50.0)]
    for posted in (0, COST):
        world.see(windows=changed_rows(world.evidence.windows, posted=posted))
        assert world.found() == set()


def test_a_call_that_held_what_was_granted_for_the_day_before_is_found(world: World) -> None:
    before, after = (row["window_start"] for row in world.evidence.windows)
    world.see(held_in={attempt(2): {world.budget.budget_id: after}})
    assert world.found() == set()
    world.see(held_in={attempt(2): {world.budget.budget_id: before}})
    assert world.found() == {"held in another window"}


def test_a_charge_that_is_dated_by_a_wrong_clock_is_found(world: World) -> None:
    priced = world.evidence.priced
    early = priced[attempt(2)].model_copy(update={"occurred_at": NOON - timedelta(hours=1)})
    world.see(priced={**priced, attempt(2): early})
    assert world.found() == {"misdated"}
