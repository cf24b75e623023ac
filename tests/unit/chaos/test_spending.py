"""A hard budget is judged by the bill alone: at each instant, in each window, against the limits up to then."""

import pytest

from chaos.budgets import PAUSED, SETTLE_S, Phase, Target
from chaos.outages import Outage, Outages
from chaos.suspense import Release
from support.chaos_run import ANSWERED_S, COST, World


@pytest.fixture
def world() -> World:
    """Its second call is admitted a minute after the first, and the budget has room for one."""
    world = World()
    world.budget.limits = {1: COST}
    world.move(2, 60.0)
    return world


def overspent(world: World) -> int:
    return world.verdict().amount("overspent")


def test_two_bills_above_a_limit_that_has_room_for_one_are_overspent(world: World) -> None:
    assert overspent(world) == COST


@pytest.mark.parametrize(("answer", "over"), [(200, 0), (409, COST)])
def test_what_an_operator_released_is_excused(world: World, answer: int, over: int) -> None:
    release = Release(30.0, "gateway", world.budget.budget_id, COST, answer, lived=False)
    world.know(releases=[release])
    assert overspent(world) == over


def test_the_excess_of_a_bill_is_excused_until_it_could_be_counted(world: World) -> None:
    world.bill(1, prompt_tokens=200)
    world.move(2, 1.0)
    world.budget.limits = {1: 2 * COST}
    assert overspent(world) == 0
    world.move(2, 60.0)
    assert overspent(world) == 100 * 150


def test_the_excess_that_nobody_could_report_is_excused(world: World) -> None:
    world.bill(1, prompt_tokens=200)
    world.budget.limits = {1: 2 * COST}
    world.call(1, is_whole=False)
    assert overspent(world) == 0


def test_a_gateway_that_was_away_need_not_have_counted_an_excess(world: World) -> None:
    world.bill(1, prompt_tokens=200)
    world.budget.limits = {1: 2 * COST}
    world.know(outages=Outages([Outage("gateway", ANSWERED_S + 1.0, 58.0)]))
    assert overspent(world) == 0


def test_each_window_has_the_whole_limit_and_no_more(world: World) -> None:
    world.budget.midnights = (30.0,)
    assert overspent(world) == 0
    world.budget.midnights = (-30.0,)
    assert overspent(world) == COST


def test_a_call_at_midnight_may_be_in_either_window(world: World) -> None:
    world.budget.midnights = (59.0,)
    assert overspent(world) == 0


def test_a_budget_that_was_made_hard_holds_from_a_while_afterwards(world: World) -> None:
    asked, late = 60.0 - SETTLE_S + 1.0, 60.0 - SETTLE_S - 1.0
    world.budget.phases = [Phase("soft"), Phase("hard", asked, asked)]
    assert overspent(world) == 0
    world.budget.phases = [Phase("soft"), Phase("hard", late, late)]
    assert overspent(world) == COST


def test_what_was_spent_while_a_budget_was_paused_is_not_its_fault(world: World) -> None:
    world.budget.phases = [Phase("hard"), Phase(PAUSED, 40.0, 40.0)]
    assert overspent(world) == 0


@pytest.mark.parametrize(
    ("narrowed_to", "over"),
    [
        (Target(model="gpt-4o-mini"), COST),
        (Target(provider="openai"), COST),
        (Target(provider="anthropic"), 0),
        (Target(feature="search"), 0),
    ],
)
def test_a_narrowed_budget_counts_the_calls_it_is_for(world: World, narrowed_to: Target, over: int) -> None:
    world.budget.narrowed_to = narrowed_to
    assert overspent(world) == over


def test_a_snapshot_counts_for_the_model_that_was_asked_for(world: World) -> None:
    world.budget.narrowed_to = Target(model="gpt-4o-mini")
    world.bill(2, model="gpt-4o-mini-2024-07-18")
    assert overspent(world) == COST
