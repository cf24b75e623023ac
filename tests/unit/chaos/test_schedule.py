"""A seed is a schedule; a schedule has every kind of fault."""

import pytest

from chaos.schedule import POINTS, SERVICES, only, schedule, service_of


def test_a_seed_draws_the_same_schedule_and_another_seed_another() -> None:
    assert schedule(7, 50) == schedule(7, 50)
    assert schedule(7, 50) != schedule(8, 50)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_comes_where_there_are_enough_faults(seed: int) -> None:
    assert len({fault.kind for fault in schedule(seed, 40)}) >= 25


def test_a_lost_node_that_never_comes_back_is_the_last_fault_of_a_long_schedule() -> None:
    assert [fault.kind for fault in schedule(1, 200)].index("node_gone") == 199
    assert "node_gone" not in {fault.kind for fault in schedule(1, 50)}


def test_a_long_schedule_has_each_server_away_for_long_once() -> None:
    away = [(fault.target, fault.for_s > 20) for fault in schedule(1, 200) if fault.kind.endswith("_away")]
    assert away == [("postgres", True), ("kafka", True)]


def test_faults_come_one_after_the_other() -> None:
    instants = [fault.at_s for fault in schedule(3, 100)]
    assert instants == sorted(instants)


def test_a_part_of_a_schedule_keeps_its_times() -> None:
    whole = schedule(3, 10)
    assert only(whole, [2, 7]) == [whole[2], whole[7]]


def test_every_service_has_places_to_die_at() -> None:
    assert {service_of(replica) for replica in SERVICES} == set(POINTS)
