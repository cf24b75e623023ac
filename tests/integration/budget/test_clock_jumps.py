"""A wall clock that somebody sets changes no share, and makes no gateway look lost or dead."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from budget.shares.operations import Shares
from budget.store import Store
from support.budget_service import LOST_AFTER, RELEASE_AFTER, BudgetService, nothing, report, won
from support.clock import HandClock

COST = 6_000_000  # 7.80 won
DAY = timedelta(days=1)
BOOKS = (
    "SELECT gateway_id, epoch, budget_id, granted, returned, overdrawn, posted, suspended_at FROM budget_share",
    "SELECT gateway_id, epoch FROM gateway",
    "SELECT * FROM budget_window",
)

SetClock = Callable[[BudgetService, timedelta], Awaitable[None]]


async def of_the_service(service: BudgetService, by: timedelta) -> None:
    service.clock.jump(by)


async def of_postgres(service: BudgetService, by: timedelta) -> None:
    """What a heartbeat before the jump left, as the clock after it sees it."""
    await service.pool.execute("UPDATE gateway SET seen_at = seen_at - $1::interval", by)


async def books(service: BudgetService) -> list[Any]:
    return [sorted(map(tuple, await service.pool.fetch(query))) for query in BOOKS]


@pytest.mark.parametrize("set_clock", [of_the_service, of_postgres])
async def test_a_clock_that_jumps_a_day_forward_and_back_changes_no_share(
    service: BudgetService, set_clock: SetClock
) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    told = report(share, returned=won("1"))
    await service.beat(told)
    before = await books(service)
    for by in (DAY, -2 * DAY, DAY):
        await set_clock(service, by)
        assert await service.shares.suspend_lost(LOST_AFTER) == 0, "before anybody could be heard"
        for _ in range(2):
            assert (await service.beat(told)).recalled == ()
            assert await service.wait(LOST_AFTER * 0.6) == 0
    assert await books(service) == before


async def test_a_gateway_that_is_lost_is_found_though_the_clock_goes_back(service: BudgetService) -> None:
    await service.opened(await service.ready("100"), COST)
    assert await service.wait(LOST_AFTER * 0.6) == 0
    service.clock.jump(-DAY)
    assert await service.wait(LOST_AFTER * 0.6) == 1


async def test_who_is_heard_while_the_service_looks_is_not_lost(service: BudgetService) -> None:
    await service.opened(await service.ready("100"), COST)
    async with Store(service.pool).transaction() as unit:
        silent = await unit.books.signs_of_life()
        assert len(await unit.books.shares_of_the_lost(silent, 100)) == 1
    await service.beat()
    async with Store(service.pool).transaction() as unit:
        assert await unit.books.shares_of_the_lost(silent, 100) == []


async def test_replicas_whose_clocks_differ_suspend_nobody_who_is_heard(service: BudgetService) -> None:
    await service.opened(await service.ready("100"), COST)
    clock = HandClock(service.clock.now() + DAY)
    ahead = Shares(Store(service.pool), clock, nothing, release_after_s=RELEASE_AFTER.total_seconds())
    for _ in range(40):
        assert await ahead.suspend_lost(LOST_AFTER) == 0
        await service.beat()
        clock.move(timedelta(seconds=30))


async def test_who_was_heard_just_now_is_asked_to_give_back_whatever_the_services_clock_says(
    service: BudgetService,
) -> None:
    key = await service.ready("10", "first", "second", window={"kind": "lifetime"})
    idle = await service.opened(key, COST, gateway="first")
    service.clock.jump(DAY)
    short = await service.raise_(key, COST, gateway="second")
    assert short.refusal is not None
    assert short.refusal.is_recalling
    assert await service.recalled("first") == [idle.budget_id]
