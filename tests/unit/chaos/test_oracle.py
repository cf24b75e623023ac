"""The oracle finds nothing wrong with a run that went well, and each wrong thing where there is one."""

from dataclasses import replace
from uuid import uuid4

import pytest

from support.chaos_run import ANSWERED_S, COST, World, attempt, changed_rows


@pytest.fixture
def world() -> World:
    return World()


def test_a_sound_run_has_no_findings(world: World) -> None:
    assert world.found() == set()


def test_a_billed_call_in_no_book_is_lost(world: World) -> None:
    world.lose_a_charge()
    assert world.found() == {"lost"}


def test_what_waits_for_its_price_is_not_lost(world: World) -> None:
    world.lose_a_charge()
    world.see(suspense={attempt(2)})
    assert world.found() == set()


def test_what_went_down_with_a_node_is_covered_by_its_suspense(world: World) -> None:
    world.lose_a_charge()
    world.lose_the_gateway(suspended=COST)
    assert (world.found(), world.verdict().covered) == (set(), 1)


def test_suspense_that_is_too_small_covers_nothing(world: World) -> None:
    world.lose_a_charge()
    world.lose_the_gateway(suspended=COST - 1)
    assert "lost" in world.found()


def test_a_node_takes_nothing_along_that_was_sent_after_it_went_or_answered_before(world: World) -> None:
    for at in (-1.0, ANSWERED_S + 2.0):
        world.lose_a_charge()
        world.lose_the_gateway(suspended=COST, at=at)
        assert "lost" in world.found()


def test_an_answer_on_no_bill_is_shown(world: World) -> None:
    world.see(bill=world.evidence.bill[:1])
    assert "unbilled answer" in world.found()


def test_a_second_charge_is_found_in_the_ledger_and_in_the_postings(world: World) -> None:
    world.see(ledger=[*world.evidence.ledger, {**world.evidence.ledger[0], "entry_id": uuid4()}])
    assert "charged twice" in world.found()
    other = World()
    other.see(windows=changed_rows(other.evidence.windows, posted=3 * COST))
    assert "charged twice" in other.found()


def test_an_entry_that_was_not_posted_is_found(world: World) -> None:
    world.see(windows=changed_rows(world.evidence.windows, posted=COST))
    assert world.found() == {"not posted"}


def test_a_charge_that_is_not_the_bills_is_found(world: World) -> None:
    world.see(ledger=changed_rows(world.evidence.ledger, cost_nano_usd=COST - 1))
    assert "charged wrong" in world.found()


def test_an_estimate_may_be_above_the_bill_and_not_below(world: World) -> None:
    priced = dict(world.evidence.priced)
    priced[attempt(2)] = priced[attempt(2)].model_copy(update={"usage_source": "estimated"})
    world.see(priced=priced, ledger=changed_rows(world.evidence.ledger, cost_nano_usd=COST + 1))
    assert world.found() == set()
    world.see(ledger=changed_rows(world.evidence.ledger, cost_nano_usd=COST - 1))
    assert world.found() == {"charged below the bill"}
    world.budget.phases[0].mode = "soft"
    assert "charged below the bill" not in world.found()


def test_a_bill_above_the_highest_limit_is_overspent(world: World) -> None:
    world.budget.limits = {1: 2 * COST - 7}
    assert world.verdict().amount("overspent") == 7


def test_a_raise_excuses_what_is_admitted_after_it_and_nothing_before(world: World) -> None:
    world.budget.limits = {1: 2 * COST - 7, 2: 2 * COST}
    world.budget.asked = [(-1.0, 2 * COST)]
    assert "overspent" not in world.found()
    world.budget.asked = [(1.0, 2 * COST)]
    assert "overspent" in world.found()


def test_rights_that_nobody_will_return_are_stranded(world: World) -> None:
    world.lose_the_gateway(suspended=5)
    world.see(windows=changed_rows(world.evidence.windows, posted=2 * COST), held=changed_rows(world.evidence.held))
    assert "stranded" not in world.found()
    world.see(held=changed_rows(world.evidence.held, suspended_at=None))
    assert world.verdict().amount("stranded") == 5


def test_a_threshold_that_was_reached_and_not_told_is_missed(world: World) -> None:
    world.see(events=[], hooks={})
    assert world.found() == {"missed alert event"}


def test_a_threshold_told_twice_or_too_early_is_found(world: World) -> None:
    (told,) = world.evidence.events
    world.see(events=[told, replace(told, id=str(uuid4()))])
    assert "doubled alert event" in world.found()
    other = World()
    other.budget.limits = {1: 100 * COST}
    assert other.found() == {"needless alert event"}


def test_the_same_event_twice_on_the_topic_is_one(world: World) -> None:
    world.see(events=[replace(world.evidence.events[0], times=2)])
    assert world.found() == set()


def test_an_alert_that_never_came_is_missed_on_its_channel(world: World) -> None:
    world.see(mails=[])
    assert world.found() == {"missed mail"}
    world.see(hooks={})
    assert world.found() == {"missed mail", "missed webhook"}


def test_a_mail_under_two_ids_and_a_webhook_unsigned_are_found(world: World) -> None:
    twin = {**world.evidence.deliveries[0], "delivery_id": uuid4()}
    (hook,) = world.evidence.hooks["acme"]
    world.see(deliveries=[*world.evidence.deliveries, twin], hooks={"acme": [(hook[0], False)]})
    assert world.found() == {"doubled mail", "unsigned webhook"}


def test_poison_that_is_no_dead_letter_is_found(world: World) -> None:
    world.know(poisoned={"usage.priced": [b"poison-1"]})
    assert world.found() == {"poison not buried"}
    world.see(dead={"usage.priced": {b"poison-1"}})
    assert world.found() == set()


def test_a_dead_letter_that_is_no_poison_is_found(world: World) -> None:
    world.see(dead={"usage.priced": {b"acme-a1"}})
    assert world.found() == {"buried alive"}


def test_what_the_systems_own_audit_finds_is_shown(world: World) -> None:
    world.see(audit="BROKEN  escrow_is_held")
    assert world.found() == {"broken invariant"}


def test_a_charge_on_no_bill_is_invented_unless_it_is_a_worst_case(world: World) -> None:
    world.see(bill=world.evidence.bill[:1])
    world.know(calls=world.run.calls[:1])
    assert world.found() == {"invented"}
    priced = dict(world.evidence.priced)
    priced[attempt(2)] = priced[attempt(2)].model_copy(update={"usage_source": "worst_case"})
    world.see(priced=priced)
    assert world.found() == set()
