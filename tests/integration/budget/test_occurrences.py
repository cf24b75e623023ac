"""A mark that was crossed and resolved can be crossed again: another occurrence, with an event of its own."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from budget.alerts.operations import announce_reached
from budget.posting.rules import Reached
from budget.store import Store
from budget.unit import Unit
from farebox.events import UsagePriced
from farebox.money import NANO
from farebox.shares import ShareTotal
from support.budget_service import RELEASE_AFTER, BudgetService, held
from support.eventually import eventually

WARNING = [{"severity": "warning", "percent": "75"}]
SUSPENDED_COST = 60_000_000  # 78 won
DAY = timedelta(days=1)
NOTED_BEFORE = """
INSERT INTO crossing (budget_id, window_start, limit_revision, mark, event_id, crossed_at)
SELECT budget_id, window_start, limit_revision, mark, gen_random_uuid(), now() FROM crossing WHERE occurrence = 2
ON CONFLICT DO NOTHING
RETURNING event_id
"""
"""How the version before occurrences notes what is crossed."""


async def at_work(service: BudgetService, limit: str = "100", **fields: Any) -> dict[str, Any]:
    """A budget for as long as the test lasts, and a key that spends it."""
    await service.org()
    await service.budget(limit, **({"thresholds": WARNING, "window": {"kind": "lifetime"}} | fields))
    return await service.key()


async def spend(service: BudgetService, key: dict[str, Any], *amounts: int) -> None:
    """One batch of charges, and of corrections where the amount is below 0; in won."""
    await service.post(*(entry(service, key, each) for each in amounts))


def entry(service: BudgetService, key: dict[str, Any], amount: int, **fields: Any) -> UsagePriced:
    if amount < 0:
        fields |= {"kind": "correction", "requests": 0, "tokens": 0}
    return service.priced(key, amount * NANO, **fields)


async def suspend(service: BudgetService, key: dict[str, Any], cost: int = SUSPENDED_COST) -> tuple[ShareTotal, int]:
    """A gateway is lost with its disk; the share that it held, and in which epoch."""
    epoch = await service.start()
    share = await service.opened(key, cost, epoch=epoch)
    await service.start()
    return share, epoch


async def release(service: BudgetService, lost: tuple[ShareTotal, int]) -> None:
    await service.wait(RELEASE_AFTER + timedelta(minutes=1))
    answer = await service.release(epoch=lost[1])
    assert answer.status_code == 200, answer.text


async def events(service: BudgetService) -> list[str]:
    """What happened, in order."""
    return [kind.removeprefix("farebox.budget.").removesuffix(".v1") for kind, _ in await service.told()]


async def told(service: BudgetService) -> list[tuple[int, bool]]:
    """Of each event, which occurrence it is of, and whether people hear of it."""
    return [(event["occurrence"], event["notify_people"]) for _, event in await service.told()]


async def test_a_threshold_really_reached_after_a_false_alarm_is_told_again(service: BudgetService) -> None:
    key = await at_work(service)
    await release(service, await suspend(service, key))
    await spend(service, key, 90)
    assert await events(service) == ["threshold_crossed", "threshold_resolved", "threshold_crossed"]


@pytest.mark.parametrize("batches", [[[80], [-60], [75]], [[80, -60, 75]]], ids=["one by one", "in one batch"])
async def test_crossed_resolved_and_crossed_are_three_events(service: BudgetService, batches: list[list[int]]) -> None:
    key = await at_work(service)
    for batch in batches:
        await spend(service, key, *batch)
    assert await events(service) == ["threshold_crossed", "threshold_resolved", "threshold_crossed"]


async def test_an_exhausted_budget_that_has_room_again_can_be_exhausted_again(service: BudgetService) -> None:
    key = await at_work(service, thresholds=[])
    for amount in (100, -60, 60):
        await spend(service, key, amount)
    assert await events(service) == ["exhausted", "exhausted"]
    assert await told(service) == [(1, False), (2, False)]


async def test_an_event_says_which_occurrence_begins_or_ends(service: BudgetService) -> None:
    key = await at_work(service)
    await spend(service, key, 80, -60, 75, -60)
    assert [number for number, _ in await told(service)] == [1, 1, 2, 2]
    assert [event["budget"]["spent"] for _, event in await service.told()] == [
        spent * NANO for spent in (80, 20, 95, 35)
    ]


async def test_of_many_who_cross_a_mark_again_at_once_one_tells(service: BudgetService) -> None:
    key = await at_work(service)
    await spend(service, key, 80, -60)
    entries = [entry(service, key, 10) for _ in range(7)]
    await asyncio.gather(*(service.post(each) for each in (*entries, *entries)))
    assert [number for number, _ in await told(service)] == [1, 1, 2]


async def test_of_two_who_hold_no_lock_the_keys_let_one_tell(service: BudgetService) -> None:
    key, store = await at_work(service), Store(service.pool)
    await spend(service, key, 80, -60)
    async with store.transaction() as first:
        assert await cross(first, service) == 1
        second = asyncio.create_task(cross_alone(store, service))
        await eventually(lambda: waits(service))
    assert await second == 0
    assert [number for number, _ in await told(service)] == [1, 1, 2]


async def cross(unit: Unit, service: BudgetService) -> int:
    """Announce the threshold as reached; how many events that makes."""
    ((budget,),) = (await unit.registry.budgets_of(["acme"])).values()
    windows = await unit.books.read([budget.window_key(service.clock.now())])
    ((place, window),) = windows.items()
    (mark,) = window.thresholds(budget)
    return await announce_reached(unit, [Reached(budget, place, mark, 1, True, None)], windows, service.clock.now())


async def cross_alone(store: Store, service: BudgetService) -> int:
    async with store.transaction() as unit:
        return await cross(unit, service)


async def waits(service: BudgetService) -> bool:
    """Whether a transaction waits for another."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await service.pool.fetchval(waiting))


async def test_people_hear_of_a_mark_that_is_crossed_again_once_a_day(service: BudgetService) -> None:
    key = await at_work(service)
    for _ in range(3):
        await spend(service, key, 80, -80)
        service.clock.move(DAY / 2)
    assert await told(service) == [(1, True), (1, True), (2, False), (2, False), (3, True), (3, True)]


async def test_another_limit_does_not_make_people_hear_sooner(service: BudgetService) -> None:
    key = await at_work(service)
    await spend(service, key, 80)
    budget = (await service.balance())["budget_id"]
    await service.admin.patch(f"/api/budgets/{budget}", json={"limit": "200"})
    await spend(service, key, 80)
    assert await told(service) == [(1, True), (1, True), (2, False)]


async def test_another_window_is_another_story(service: BudgetService) -> None:
    key = await at_work(service, window={"kind": "day"})
    await spend(service, key, 80)
    service.clock.move(timedelta(hours=22))  # 01:00 of the next day
    await spend(service, key, 80)
    assert await told(service) == [(1, True), (1, True)]


async def test_people_hear_nothing_of_a_false_alarm_and_all_of_a_real_one(service: BudgetService) -> None:
    key = await at_work(service)
    await release(service, await suspend(service, key))
    await spend(service, key, 90)
    assert await told(service) == [(1, False), (1, False), (2, True)]


async def test_what_suspense_alone_reached_is_told_to_people_when_it_is_posted(service: BudgetService) -> None:
    key = await at_work(service)
    share, epoch = await suspend(service, key)
    for amount in (74, 1, 1):
        await service.post(entry(service, key, amount, held=held(share, settled=amount * NANO, epoch=epoch)))
    assert await events(service) == ["threshold_crossed", "threshold_crossed"]
    assert await told(service) == [(1, False), (2, True)]


async def test_a_charge_below_what_it_takes_out_of_suspense_can_leave_a_mark_within_a_batch(
    service: BudgetService,
) -> None:
    key = await at_work(service)
    share, epoch = await suspend(service, key)
    cheaper = entry(service, key, 10, held=held(share, settled=20 * NANO, epoch=epoch))
    await service.post(cheaper, entry(service, key, 8))
    assert await events(service) == ["threshold_crossed", "threshold_resolved", "threshold_crossed"]


async def test_people_hear_that_a_budget_is_over_its_limit_only_of_what_is_posted(service: BudgetService) -> None:
    key = await at_work(service, thresholds=[])
    await suspend(service, key)
    for amount in (30, 60, 30):
        await spend(service, key, amount)
    over = [event for kind, event in await service.told() if "over_limit" in kind]
    assert [(event["provisional"], event["notify_people"]) for event in over] == [(True, False), (False, True)]


async def test_a_budget_that_refuses_again_after_a_correction_is_exhausted_again(service: BudgetService) -> None:
    key = await at_work(service, thresholds=[])
    await service.start()
    await spend(service, key, 99)
    for _ in range(2):
        await service.raise_(key, SUSPENDED_COST)
    await spend(service, key, -9)
    await service.raise_(key, SUSPENDED_COST)
    assert await events(service) == ["exhausted", "exhausted"]


async def test_what_is_refused_for_suspense_alone_is_provisional(service: BudgetService) -> None:
    key = await at_work(service, thresholds=[])
    await suspend(service, key)
    for spent in (0, 99):
        await spend(service, key, spent)
        await service.raise_(key, SUSPENDED_COST, epoch=2)
    exhausted = [event for kind, event in await service.told() if "exhausted" in kind]
    assert [event["provisional"] for event in exhausted] == [True, False]


async def test_a_raise_that_leaves_room_lets_a_budget_be_over_its_limit_again(service: BudgetService) -> None:
    key = await at_work(service, thresholds=[], mode="soft")
    budget = (await service.balance())["budget_id"]
    await spend(service, key, 120)
    for limit in ("200", "100"):
        await service.admin.patch(f"/api/budgets/{budget}", json={"limit": limit})
    assert await events(service) == ["over_limit", "over_limit"]


async def test_a_replica_that_knows_no_occurrences_notes_no_mark_twice(service: BudgetService) -> None:
    key = await at_work(service)
    await spend(service, key, 80, -60, 75)
    assert await service.pool.fetch(NOTED_BEFORE) == []
    await service.pool.execute(
        "UPDATE crossing SET limit_revision = 2 WHERE occurrence = 2"
    )  # under which no first occurrence was noted
    assert await service.pool.fetch(NOTED_BEFORE) == []


async def test_what_a_replica_that_knows_no_occurrences_noted_has_an_end_and_a_successor(
    service: BudgetService,
) -> None:
    key = await at_work(service)
    await spend(service, key, 80, -60, 75)
    budget = (await service.balance())["budget_id"]
    await service.admin.patch(f"/api/budgets/{budget}", json={"limit": "200"})
    await spend(service, key, 60)
    await service.pool.execute("UPDATE crossing SET occurrence = 1 WHERE occurrence = 3")
    await spend(service, key, -20, 20)
    assert [number for number, _ in await told(service)][-3:] == [3, 1, 3]
