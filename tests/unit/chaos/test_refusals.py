"""Who is refused, left alone or served for no reason that the harness knows is found."""

import pytest

from chaos.outages import Outage, Outages
from chaos.suspense import Release
from chaos.twins import Zombie
from support.chaos_run import World


@pytest.fixture
def world() -> World:
    return World()


def refuse(world: World, **facts: object) -> None:
    """The second call was refused and never sent."""
    world.forget_the_second_call()
    world.call(2, status=503, code="budget_unavailable", **facts)


def test_a_call_refused_while_all_was_up_is_found(world: World) -> None:
    refuse(world)
    assert world.found() == {"refused with all up"}


def test_a_call_unanswered_while_all_was_up_is_found(world: World) -> None:
    refuse(world, is_whole=False)
    world.call(2, status=None)
    assert world.found() == {"unanswered with all up"}


@pytest.mark.parametrize("part", ["gateway", "budget", "postgres", "link budget", "link provider"])
def test_a_refusal_is_explained_by_what_the_call_needs(world: World, part: str) -> None:
    refuse(world)
    world.know(outages=Outages([Outage(part, -9.0, -1.0)]))
    assert world.found() == set()


@pytest.mark.parametrize("part", ["gateway-2", "metering", "notifier", "kafka", "link kafka"])
def test_a_refusal_is_not_explained_by_what_the_call_does_not_need(world: World, part: str) -> None:
    refuse(world)
    world.know(outages=Outages([Outage(part, -9.0, -1.0)]))
    assert world.found() == {"refused with all up"}


def test_an_outage_that_is_long_over_explains_nothing(world: World) -> None:
    refuse(world)
    world.know(outages=Outages([Outage("postgres", -60.0, -20.0)]))
    assert world.found() == {"refused with all up"}


def test_a_fault_of_the_provider_that_was_ordered_explains_its_answer(world: World) -> None:
    refuse(world, fault="http_500")
    assert world.found() == set()


def test_a_refusal_for_money_that_the_meter_had_room_for_is_found(world: World) -> None:
    refuse(world)
    call = world.call(2, status=402, code="budget_exceeded", room=5)
    assert world.found() == set()
    world.know(false_refusals=[call])
    assert world.found() == {"refused with room left"}


def test_a_model_without_a_price_is_refused_until_its_price_was_heard_of(world: World) -> None:
    refuse(world)
    world.call(2, status=403, code="model_not_priced", model="gpt-chaos-1")
    assert world.found() == set()
    world.call(2, model="gpt-4o-mini")
    assert world.found() == {"refused with all up"}


def test_a_revoked_key_is_refused_rightly_and_served_for_a_while(world: World) -> None:
    world.key.revocation_asked_at = world.key.revoked_at = -29.0
    assert world.found() == set()
    refuse(world)
    world.call(2, status=401, code="invalid_api_key")
    assert world.found() == set()


def test_a_revoked_key_that_is_served_later_is_found(world: World) -> None:
    world.key.revocation_asked_at = world.key.revoked_at = -31.0
    assert "revoked key served" in world.found()


def test_a_revoked_key_may_be_served_where_neither_kafka_nor_the_budget_service_could_tell(world: World) -> None:
    world.key.revocation_asked_at = world.key.revoked_at = -40.0
    world.know(outages=Outages([Outage("link budget", -39.0, 9.0)]))
    assert "revoked key served" in world.found()
    world.know(outages=Outages([Outage("link budget", -39.0, 9.0), Outage("kafka", -39.0, 9.0)]))
    assert world.found() == set()


def test_the_older_of_two_gateways_of_one_name_is_found_serving(world: World) -> None:
    world.know(zombies=[Zombie("gateway", since=-3.0, until=9.0)])
    assert world.found() == set()
    world.know(zombies=[Zombie("gateway", since=-9.0, until=9.0)])
    assert world.found() == {"served by a fenced gateway"}


def test_a_release_of_a_gateway_that_lives_is_found_unless_it_was_refused(world: World) -> None:
    for answer, found in ((409, set()), (200, {"released while it lives"})):
        world.know(releases=[Release(0.0, "gateway", world.budget.budget_id, 1, answer, lived=True)])
        assert world.found() == found
