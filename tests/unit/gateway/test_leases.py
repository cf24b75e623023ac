from uuid import UUID

import pytest

from farebox.leasing import Lease, Share
from gateway.admission.estimate import Amount
from gateway.shares.leases import IDLE_S, Leases, PoolKey

ORG, USER, OTHER = (UUID(int=number) for number in (1, 2, 3))
POOL: PoolKey = ("USD", (ORG, USER))
TEN = Amount(10, 1, 10)


def lease(granted: int, *budgets: UUID, number: int = 100, valid_for_ms: int | None = None) -> Lease:
    shares = tuple(Share(budget_id=budget, measure="money", granted=granted) for budget in budgets or (ORG, USER))
    return Lease(lease_id=UUID(int=number), shares=shares, valid_for_ms=valid_for_ms)


@pytest.fixture
def leases() -> Leases:
    leases = Leases()
    leases.add(POOL, lease(25), now=0)
    return leases


def returned(leases: Leases) -> dict[UUID, int]:
    return {budget: amount for report in leases.reports(99) for budget, amount in report.wire.returned.items()}


def spent(leases: Leases) -> int:
    return sum(report.wire.spent.money for report in leases.reports(99))


def test_reserves_fit_until_the_lease_is_used_up(leases: Leases) -> None:
    assert leases.reserve(POOL, TEN, 0)
    assert leases.reserve(POOL, TEN, 0)
    assert leases.reserve(POOL, TEN, 0) is None
    assert leases.reserve(POOL, Amount(5), 0)


def test_the_tightest_share_of_a_measure_decides() -> None:
    leases = Leases()
    uneven = lease(25).model_copy(
        update={
            "shares": (
                Share(budget_id=ORG, measure="money", granted=100),
                Share(budget_id=USER, measure="requests", granted=1),
            )
        }
    )
    leases.add(POOL, uneven, now=0)
    assert leases.reserve(POOL, TEN, 0)
    assert leases.reserve(POOL, TEN, 0) is None


def test_a_settled_call_gives_back_what_it_did_not_use(leases: Leases) -> None:
    hold = leases.reserve(POOL, Amount(25), 0)
    assert hold
    assert leases.settle(hold, Amount(5))
    assert leases.room(POOL, 0).money == 20
    assert spent(leases) == 5


def test_settling_twice_counts_once(leases: Leases) -> None:
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    leases.settle(hold, TEN)
    leases.settle(hold, TEN)
    assert spent(leases) == 10


def test_a_void_call_leaves_no_trace(leases: Leases) -> None:
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    leases.void(hold)
    assert leases.room(POOL, 0).money == 25


def test_more_than_was_held_is_told(leases: Leases) -> None:
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    assert not leases.settle(hold, Amount(11, 1, 10))


def test_a_closing_lease_returns_at_once_what_is_idle_and_the_rest_as_it_settles(leases: Leases) -> None:
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    leases.recall([hold.lease.id])
    assert returned(leases) == {ORG: 15, USER: 15}
    leases.settle(hold, Amount(4))
    assert returned(leases) == {ORG: 21, USER: 21}


def test_what_was_overspent_takes_nothing_back_that_was_returned(leases: Leases) -> None:
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    leases.recall([hold.lease.id])
    leases.settle(hold, Amount(99))
    assert returned(leases) == {ORG: 15, USER: 15}


def test_a_lease_is_no_longer_drawn_on_when_its_time_is_up() -> None:
    leases = Leases()
    leases.add(POOL, lease(25, valid_for_ms=1000), now=0)
    assert leases.reserve(POOL, TEN, 0.9)
    assert leases.reserve(POOL, TEN, 1.0) is None
    assert returned(leases) == {ORG: 15, USER: 15}


def test_an_idle_lease_goes_back(leases: Leases) -> None:
    leases.tick(IDLE_S - 0.1)
    assert returned(leases) == {}
    leases.tick(IDLE_S)
    assert returned(leases) == {ORG: 25, USER: 25}


def test_a_lease_with_a_call_under_way_is_not_idle(leases: Leases) -> None:
    leases.reserve(POOL, TEN, 0)
    leases.tick(IDLE_S + 1)
    assert returned(leases) == {}


def test_a_lease_too_small_for_the_next_call_is_closed_once_another_is_there(leases: Leases) -> None:
    leases.reserve(POOL, Amount(20), 0)
    leases.add(POOL, lease(50, number=101), now=0)
    assert leases.reserve(POOL, TEN, 0)
    assert returned(leases) == {ORG: 5, USER: 5}


def test_rights_on_a_shared_budget_come_back_from_other_pools(leases: Leases) -> None:
    other: PoolKey = ("USD", (ORG, OTHER))
    leases.add(other, lease(7, ORG, OTHER, number=101), now=0)
    assert leases.close_others(POOL, [ORG])
    assert returned(leases) == {ORG: 7, OTHER: 7}
    assert not leases.close_others(POOL, [ORG])


def test_a_report_is_repeated_until_it_is_acknowledged(leases: Leases) -> None:
    leases.recall([UUID(int=100)])
    reports = leases.reports(99)
    assert len(reports) == len(leases.reports(99)) == 1
    leases.acknowledge(reports)
    assert leases.reports(99) == []


def test_what_happened_after_a_report_is_reported_again(leases: Leases) -> None:
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    leases.recall([hold.lease.id])
    reports = leases.reports(99)
    leases.settle(hold, TEN)
    leases.acknowledge(reports)
    assert spent(leases) == 10


def test_a_lease_is_forgotten_when_all_of_it_is_returned_and_known(leases: Leases) -> None:
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    leases.close_all()
    leases.acknowledge(leases.reports(99))
    assert len(leases) == 1
    leases.settle(hold, TEN)
    leases.acknowledge(leases.reports(99))
    assert len(leases) == 0


def test_a_lease_granted_twice_is_held_once(leases: Leases) -> None:
    assert leases.add(POOL, lease(25), now=0) is None
    assert leases.room(POOL, 0).money == 25


def test_an_empty_lease_is_not_taken() -> None:
    assert Leases().add(POOL, lease(0), now=0) is None


def test_the_next_lease_is_sized_by_what_was_spent_of_late(leases: Leases) -> None:
    quiet = leases.want(POOL, Amount(1, 1, 1), now=1)
    hold = leases.reserve(POOL, TEN, 0)
    assert hold
    leases.settle(hold, TEN)
    assert leases.want(POOL, Amount(1, 1, 1), now=1).money == quiet.money + 50


def test_a_pool_is_low_when_a_second_more_of_this_would_empty_it(leases: Leases) -> None:
    hold = leases.reserve(POOL, Amount(20), 0)
    assert hold
    leases.settle(hold, Amount(20))
    assert leases.is_low(POOL, 1.0)
    assert not leases.is_low(POOL, 1.01), "not asked again at once"


def test_figures_of_returns_and_spending_only_grow(leases: Leases) -> None:
    first = leases.reserve(POOL, TEN, 0)
    second = leases.reserve(POOL, TEN, 0)
    assert first
    assert second
    seen = []
    for step in (leases.close_all, lambda: leases.settle(first, TEN), lambda: leases.void(second)):
        step()
        (report,) = leases.reports(99)
        seen.append((report.wire.spent.money, report.wire.returned[ORG]))
    assert seen == sorted(seen)
    assert seen[-1] == (10, 15)
