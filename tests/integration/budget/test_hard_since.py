"""Since when a hard limit is guaranteed: when every gateway that lives has confirmed it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from farebox.postgres import session
from support.budget_service import BudgetService, won


async def shown(service: BudgetService, budget: UUID) -> dict[str, Any]:
    items = (await service.admin.get("/api/budgets")).json()["items"]
    return next(dict(each) for each in items if each["budget_id"] == str(budget))


async def test_where_no_gateway_lives_a_limit_is_guaranteed_at_once(service: BudgetService) -> None:
    await service.org()
    budget = await service.budget("10")
    assert (await shown(service, budget))["hard_since"] is not None


async def test_a_limit_is_guaranteed_when_the_last_live_gateway_has_confirmed_it(service: BudgetService) -> None:
    await service.ready("10", "first", "second")
    budget = await service.budget("5", account="minh")
    revision = (await service.beat(gateway="first")).policy_revision
    await service.beat(gateway="first", policy_revision=revision)
    assert (await shown(service, budget))["hard_since"] is None
    await service.beat(gateway="second", policy_revision=revision)
    assert (await shown(service, budget))["hard_since"] is not None


async def test_a_budget_that_somebody_changes_is_confirmed_later_and_nobody_waits(service: BudgetService) -> None:
    await service.ready("10")
    budget = await service.budget("5", account="minh")
    revision = (await service.beat()).policy_revision
    async with session(service.pool) as other, other.transaction():
        await other.execute("SELECT FROM budget FOR NO KEY UPDATE")
        await service.beat(policy_revision=revision)
        assert (await shown(service, budget))["hard_since"] is None
    await service.beat(policy_revision=revision)
    assert (await shown(service, budget))["hard_since"] is not None


async def test_a_gateway_that_starts_anew_has_confirmed_nothing(service: BudgetService) -> None:
    await service.ready("10")
    await service.beat(policy_revision=(await service.beat()).policy_revision)
    await service.start(last_epoch=1)
    budget = await service.budget("5", account="minh")
    await service.beat(epoch=2)
    assert (await shown(service, budget))["hard_since"] is None


async def test_a_gateway_that_is_gone_for_long_is_not_waited_for(service: BudgetService) -> None:
    await service.ready("10")
    budget = await service.budget("5", account="minh")
    await service.pool.execute("UPDATE gateway SET seen_at = seen_at - interval '16 minutes'")
    await service.shares.suspend_lost(timedelta(minutes=10))
    assert (await shown(service, budget))["hard_since"] is not None


async def test_a_budget_that_becomes_hard_or_active_again_is_guaranteed_anew(service: BudgetService) -> None:
    await service.org()
    budget = await service.budget("10")
    await service.start()
    for change in ({"mode": "soft"}, {"mode": "hard"}, {"active": False}, {"active": True}):
        answer = await service.admin.patch(f"/api/budgets/{budget}", json=change)
        assert answer.json()["hard_since"] is None, change
    assert (await shown(service, budget))["hard_since"] is None


async def test_another_name_or_limit_keeps_the_guarantee(service: BudgetService) -> None:
    await service.org()
    budget = await service.budget("10")
    await service.start()
    before = await shown(service, budget)
    answer = await service.admin.patch(f"/api/budgets/{budget}", json={"name": "new", "limit": "20"})
    assert answer.json()["hard_since"] == before["hard_since"] == (await shown(service, budget))["hard_since"]


async def test_an_entry_that_began_before_its_budget_never_posts_to_it(service: BudgetService) -> None:
    await service.org()
    key = await service.key()
    before = service.clock.now()
    service.clock.move(timedelta(seconds=10))
    await service.budget("10")
    await service.post(service.priced(key, won("3"), occurred_at=before), service.priced(key, won("1")))
    assert await service.figures() == ("1", "0")


async def test_a_database_that_was_set_back_confirms_nothing_that_nobody_was_told(service: BudgetService) -> None:
    await service.ready("100")
    for number in range(5):
        await service.admin.patch("/api/accounts/acme", json={"name": f"Acme {number}"})
    known = (await service.beat()).policy_revision
    await service.pool.execute("DELETE FROM policy_change WHERE revision > 1")
    later = await service.budget("10", account="minh")
    answer = await service.beat(policy_revision=known)
    assert answer.changed is None, "any policy may be another"
    assert (await shown(service, later))["hard_since"] is None


async def test_a_process_that_may_still_be_at_work_under_an_older_epoch_is_waited_for(service: BudgetService) -> None:
    await service.ready("100")
    epoch = await service.start(is_whole=False)
    budget = await service.budget("10", account="minh")
    revision = (await service.beat(epoch=epoch)).policy_revision
    await service.beat(epoch=epoch, policy_revision=revision)
    assert (await shown(service, budget))["hard_since"] is None
    await service.pool.execute("UPDATE gateway SET superseded_at = superseded_at - interval '15 minutes'")
    await service.beat(epoch=epoch, policy_revision=revision)
    assert (await shown(service, budget))["hard_since"] is not None
