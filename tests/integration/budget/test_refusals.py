"""What stood in the way of a raise is counted: what is gone, or only what shares hold."""

from typing import Any

from prometheus_client import REGISTRY

from budget.shares.rules import Obstacle
from farebox.shares import RaiseRefusal, ShareTotal
from support.budget_service import BudgetService, held, total, won

COST = 6_000_000  # 7.80 won


def refusals() -> dict[str, float]:
    return {
        each.value: REGISTRY.get_sample_value("farebox_budget_refusals_total", {"standing_in_the_way": each.value}) or 0
        for each in Obstacle
    }


async def counted(service: BudgetService, key: dict[str, Any], cost: int) -> tuple[dict[str, float], RaiseRefusal]:
    """What a refusal of the second gateway adds to the count."""
    before = refusals()
    refusal = (await service.raise_(key, cost, gateway="second")).refusal
    assert refusal is not None
    return {name: count - before[name] for name, count in refusals().items() if count != before[name]}, refusal


async def two_gateways(service: BudgetService, limit: str) -> tuple[dict[str, Any], ShareTotal]:
    """The first holds 7.80 won."""
    key = await service.ready(limit, "first", "second")
    return key, await service.opened(key, COST, gateway="first")


async def test_a_call_that_would_fit_but_for_shares_is_held_up(service: BudgetService) -> None:
    key, _ = await two_gateways(service, "10")
    count, refusal = await counted(service, key, COST)
    assert count == {"held": 1}
    assert refusal.is_recalling


async def test_where_too_much_is_spent_nobody_is_asked_to_give_back(service: BudgetService) -> None:
    key, share = await two_gateways(service, "18")
    await service.post(service.priced(key, won("7.8"), held(share, settled=won("7.8"), gateway="first")))
    await service.raise_(key, windows=[total(share, won("15"))], gateway="first")
    count, refusal = await counted(service, key, 2 * COST)
    assert count == {"spent": 1}
    assert not refusal.is_recalling
    assert await service.recalled("first") == []


async def test_what_a_lost_gateway_may_have_spent_is_counted_apart(service: BudgetService) -> None:
    key, _ = await two_gateways(service, "10")
    await service.start("first", last_epoch=0)
    count, _ = await counted(service, key, COST)
    assert count == {"suspended": 1}


async def test_what_a_provider_may_have_billed_is_counted_apart(service: BudgetService) -> None:
    key, share = await two_gateways(service, "10")
    use = held(share, settled=won("7.8"), uncertain=won("5.8"), gateway="first")
    await service.post(service.priced(key, won("2"), use))
    count, refusal = await counted(service, key, COST)
    assert count == {"suspended": 1}
    assert not refusal.is_recalling
