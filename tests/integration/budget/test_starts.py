"""Starts, loss and release on a real PostgreSQL: what is not known to be unspent is never given out again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from budget.errors import Fenced
from farebox.ids import new_id
from support.budget_service import LOST_AFTER, RELEASE_AFTER, BudgetService, held, report, total, window, won

COST = 6_000_000  # 7.80 won


async def test_one_process_is_given_one_epoch_however_often_it_asks(service: BudgetService) -> None:
    process = new_id()
    starts = [await service.start(process_id=process) for _ in range(3)]
    assert [*starts, await service.start(last_epoch=1)] == [1, 1, 1, 2]


async def test_an_epoch_that_the_database_has_forgotten_is_not_given_again(service: BudgetService) -> None:
    assert await service.start() == 1
    assert await service.start(last_epoch=5) == 6
    assert await service.start("unheard of", last_epoch=3) == 4


async def test_what_a_forgotten_epoch_spent_counts_until_it_is_posted(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.start(last_epoch=2, spent={window(share): won("3")})
    assert await service.figures() == ("7.8", "3")
    await service.post(service.priced(key, won("3"), held(share, settled=won("3"), epoch=2)))
    assert await service.figures() == ("10.8", "0")
    assert await service.broken() == set()


async def test_a_start_asked_for_again_ends_nothing_of_its_own_epoch(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    process = new_id()
    await service.start(last_epoch=1, process_id=process)
    share = await service.opened(key, COST, epoch=2)
    await service.start(last_epoch=1, process_id=process, spent={window(share): won("50")})
    assert await service.figures() == ("0", "7.8")


async def test_starts_sent_at_once_by_one_process_are_one(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    process, spent = new_id(), {window(share): won("5")}
    starts = [service.start(last_epoch=1, process_id=process, spent=spent) for _ in range(4)]
    assert await asyncio.gather(*starts) == [2, 2, 2, 2]
    assert await service.figures() == ("0", "5")
    assert await service.broken() == set()


async def test_a_whole_story_frees_what_was_not_spent(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.start(last_epoch=1, spent={window(share): won("3")})
    assert await service.figures() == ("0", "3")
    await service.post(service.priced(key, won("3"), held(share, settled=won("3"))))
    assert await service.figures() == ("3", "0")


async def test_a_window_that_a_whole_story_leaves_out_was_never_used(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    await service.start(last_epoch=1)
    assert await service.figures() == ("0", "0")


async def test_a_story_in_several_messages_concludes_with_the_last(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.budget("100", account="minh")
    org, own = (await service.raise_(key, COST)).shares
    process = new_id()
    await service.start(last_epoch=1, process_id=process, spent={window(org): won("3")}, more=True)
    assert ((await service.balance("acme"))["held"], (await service.balance("minh"))["held"]) == ("3", "7.8")
    await service.start(last_epoch=1, process_id=process, spent={window(own): won("4")})
    assert ((await service.balance("acme"))["held"], (await service.balance("minh"))["held"]) == ("3", "4")


async def test_a_whole_story_that_spent_more_than_was_granted_counts_it(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.start(last_epoch=1, spent={window(share): won("12")})
    assert await service.figures() == ("0", "12")


@pytest.mark.parametrize(
    "told",
    [
        {"is_whole": False, "last_epoch": 1, "last_record": 7},
        {"is_whole": True, "last_epoch": 0, "last_record": 9},
        {"is_whole": True, "last_epoch": 1, "last_record": 6},
    ],
    ids=["a gap in the journal", "another volume", "an older copy of the journal"],
)
async def test_what_is_not_the_whole_story_counts_as_spent(service: BudgetService, told: dict[str, Any]) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.beat(last_record=7)
    await service.start(spent={window(share): won("1")}, **told)
    assert await service.figures() == ("7.8", "0")
    assert await service.broken() == set()


async def test_what_a_lost_journal_left_in_suspense_stays_there_whatever_restarts_follow(
    service: BudgetService,
) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    assert await service.start(last_epoch=0) == 2
    assert await service.start(last_epoch=2) == 3
    assert await service.figures() == ("7.8", "0")


async def test_a_posting_of_a_lost_epoch_comes_out_of_its_suspense(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.start(last_epoch=0)
    await service.post(service.priced(key, won("3"), held(share, settled=won("3"))))
    assert await service.figures() == ("7.8", "0")
    assert await service.broken() == set()


async def test_a_silent_gateways_shares_count_as_spent_until_it_speaks(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    assert await service.wait(timedelta(minutes=9)) == 0
    assert await service.wait(timedelta(minutes=9)) == 1
    assert await service.figures() == ("7.8", "0")
    await service.beat(report(share))
    assert await service.figures() == ("0", "7.8")
    assert await service.broken() == set()


async def test_a_gateway_in_suspense_that_raises_has_spoken(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.wait(timedelta(minutes=18))
    await service.raise_(key, windows=[total(share, won("10"))])
    assert await service.figures() == ("0", "10")
    assert await service.broken() == set()


async def test_all_shares_of_a_lost_gateway_go_to_suspense_at_one_look(service: BudgetService) -> None:
    key = await service.ready("1")
    for number in range(105):
        await service.budget("100", account="minh", name=f"{number}")
    await service.raise_(key, 1)
    await service.wait(LOST_AFTER - timedelta(seconds=30))
    service.clock.move(timedelta(seconds=30))
    assert await service.shares.suspend_lost(LOST_AFTER) == 106


async def test_a_lost_gateway_that_comes_back_with_its_journal_settles_what_was_in_suspense(
    service: BudgetService,
) -> None:
    key = await service.ready("100")
    await service.budget("100", account="minh")
    org, _ = (await service.raise_(key, COST)).shares
    await service.wait(timedelta(minutes=18))
    await service.start(last_epoch=1, spent={window(org): won("3")})
    assert (await service.balance("acme"))["held"] == "3"
    assert await service.figures("minh") == ("0", "0")
    assert await service.broken() == set()


async def test_an_operator_may_release_what_was_silent_for_long_enough(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    await service.wait(RELEASE_AFTER + timedelta(minutes=1))
    (lost,) = (await service.admin.get("/api/suspended-shares")).json()["items"]
    assert (lost["gateway"], lost["epoch"], lost["held"], lost["currency"]) == ("gw", 1, "7.8", "KRW")
    assert (await service.release(reason="")).status_code == 422
    assert (await service.release()).json()["released_shares"] == 1
    assert (await service.release()).status_code == 404
    assert await service.figures() == ("0", "0")


async def test_a_gateway_that_may_still_be_at_work_is_not_released(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    await service.wait(RELEASE_AFTER - timedelta(minutes=1))
    refused = await service.release()
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "still_alive")
    assert await service.figures() == ("7.8", "0")


async def test_a_gateway_that_spoke_since_the_last_look_is_not_released(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    await service.wait(RELEASE_AFTER + timedelta(minutes=1))
    await service.beat()
    assert (await service.release()).status_code == 409
    await service.beat()


async def test_a_release_ends_the_epoch_of_a_gateway_that_lives_after_all(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.wait(RELEASE_AFTER + timedelta(minutes=1))
    await service.release()
    with pytest.raises(Fenced):
        await service.beat(report(share))
    with pytest.raises(Fenced):
        await service.raise_(key, windows=[total(share, won("20"))])
    assert await service.start(last_epoch=1) == 3
    assert await service.figures() == ("0", "0")


async def test_what_is_posted_after_a_release_counts_all_the_same(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.wait(RELEASE_AFTER + timedelta(minutes=1))
    await service.release()
    await service.post(service.priced(key, won("3"), held(share, settled=won("3"))))
    assert await service.figures() == ("3", "0")
    assert await service.broken() == set()


async def test_an_older_epoch_in_suspense_is_released_while_the_gateway_works_on(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    await service.start(last_epoch=0)
    assert (await service.release()).status_code == 409
    await service.wait(RELEASE_AFTER)
    assert (await service.release()).status_code == 200
    await service.beat(epoch=2)
    assert await service.figures() == ("0", "0")


async def test_budgets_of_a_silent_gateway_are_released_one_after_the_other(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.budget("100", account="minh")
    org, own = (await service.raise_(key, COST)).shares
    await service.wait(RELEASE_AFTER + timedelta(minutes=1))
    for share in (org, own):
        assert (await service.release(budget_id=str(share.budget_id))).status_code == 200
    assert (await service.admin.get("/api/suspended-shares")).json()["items"] == []


async def test_suspense_that_reaches_a_threshold_is_told_once_and_its_release_takes_it_back(
    service: BudgetService,
) -> None:
    key = await service.ready("10", thresholds=[{"severity": "warning", "percent": "50"}])
    share = await service.opened(key, COST)
    await service.start(last_epoch=0)
    assert [kind for kind, _ in await service.told()] == ["farebox.budget.threshold_crossed.v1"]
    await service.post(service.priced(key, won("3"), held(share, settled=won("3"))))
    assert [kind for kind, _ in await service.told()] == ["farebox.budget.threshold_crossed.v1"]
    await service.wait(RELEASE_AFTER)
    assert (await service.release()).status_code == 200
    assert [kind for kind, _ in await service.told()][1:] == ["farebox.budget.threshold_resolved.v1"]
    assert await service.figures() == ("3", "0")


async def test_what_postings_take_out_of_suspense_reaches_only_what_is_posted_by_then(service: BudgetService) -> None:
    key = await service.ready("10", thresholds=[{"severity": "at", "percent": percent} for percent in ("50", "90")])
    share = await service.opened(key, COST)
    await service.start(last_epoch=0)
    await service.post(*(service.priced(key, won("2.6"), held(share, settled=won("2.6"))) for _ in range(3)))
    assert await service.figures() == ("7.8", "0")
    told = [(event["threshold"]["percent"], event["provisional"]) for _, event in await service.told()]
    assert told == [("50", True), ("50", False)]
