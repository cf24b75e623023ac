"""What stood in the way of a grant is counted: what is gone, or only what leases hold."""

from uuid import UUID

from prometheus_client import REGISTRY

from budget.shares.rules import Obstacle
from farebox.leasing import GrantAnswer
from support.office import BudgetOffice, won

COST = 6_000_000  # 7.80 won


def refusals() -> dict[str, float]:
    return {
        each.value: REGISTRY.get_sample_value("farebox_budget_refusals_total", {"standing_in_the_way": each.value}) or 0
        for each in Obstacle
    }


async def counted(office: BudgetOffice, key: dict[str, object], cost: int) -> tuple[dict[str, float], GrantAnswer]:
    """What a refusal of the second gateway adds to the count."""
    before = refusals()
    answer = await office.grant(key, cost, gateway="second")
    assert answer.refusal is not None
    return {name: count - before[name] for name, count in refusals().items() if count != before[name]}, answer


async def two_gateways(office: BudgetOffice, limit: str) -> tuple[dict[str, object], UUID]:
    """The first holds a lease of 7.80 won."""
    await office.org()
    await office.budget(limit)
    key = await office.key()
    for gateway in ("first", "second"):
        await office.start(gateway=gateway)
    lease = (await office.grant(key, COST, gateway="first")).lease
    assert lease is not None
    return key, lease.lease_id


async def test_a_call_that_would_fit_but_for_leases_is_held_up(office: BudgetOffice) -> None:
    key, _ = await two_gateways(office, "10")
    count, answer = await counted(office, key, COST)
    assert count == {"held": 1}
    assert answer.refusal is not None
    assert answer.refusal.is_recalling


async def test_where_too_much_is_spent_nobody_is_asked_to_give_back(office: BudgetOffice) -> None:
    key, lease_id = await two_gateways(office, "18")
    await office.post(office.priced(key, won("7.8"), lease_id))
    await office.grant(key, COST, gateway="first")
    count, answer = await counted(office, key, 2 * COST)
    assert count == {"spent": 1}
    assert answer.refusal is not None
    assert not answer.refusal.is_recalling
    assert await office.beat("first") == ()


async def test_what_a_lost_gateway_may_have_spent_is_counted_apart(office: BudgetOffice) -> None:
    key, _ = await two_gateways(office, "10")
    await office.start(gateway="first", last_epoch=0)
    count, _ = await counted(office, key, COST)
    assert count == {"suspended": 1}
