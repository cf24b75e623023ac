"""Starts, loss and release on a real PostgreSQL: what is not known to be unspent is never given out again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from budget.errors import Fenced
from farebox.ids import new_id
from support.office import LOST_AFTER, RELEASE_AFTER, BudgetOffice, held, report, total, window, won

COST = 6_000_000  # 7.80 won


async def test_one_process_is_given_one_epoch_however_often_it_asks(office: BudgetOffice) -> None:
    process = new_id()
    starts = [await office.start(process_id=process) for _ in range(3)]
    assert [*starts, await office.start(last_epoch=1)] == [1, 1, 1, 2]


async def test_an_epoch_that_the_database_has_forgotten_is_not_given_again(office: BudgetOffice) -> None:
    assert await office.start() == 1
    assert await office.start(last_epoch=5) == 6
    assert await office.start("unheard of", last_epoch=3) == 4


async def test_what_a_forgotten_epoch_spent_counts_until_it_is_posted(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.start(last_epoch=2, spent={window(share): won("3")})
    assert await office.figures() == ("7.8", "3")
    await office.post(office.priced(key, won("3"), held(share, settled=won("3"), epoch=2)))
    assert await office.figures() == ("10.8", "0")
    assert await office.broken() == set()


async def test_a_start_asked_for_again_ends_nothing_of_its_own_epoch(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    process = new_id()
    await office.start(last_epoch=1, process_id=process)
    share = await office.opened(key, COST, epoch=2)
    await office.start(last_epoch=1, process_id=process, spent={window(share): won("50")})
    assert await office.figures() == ("0", "7.8")


async def test_starts_sent_at_once_by_one_process_are_one(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    process, spent = new_id(), {window(share): won("5")}
    starts = [office.start(last_epoch=1, process_id=process, spent=spent) for _ in range(4)]
    assert await asyncio.gather(*starts) == [2, 2, 2, 2]
    assert await office.figures() == ("0", "5")
    assert await office.broken() == set()


async def test_a_whole_story_frees_what_was_not_spent(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.start(last_epoch=1, spent={window(share): won("3")})
    assert await office.figures() == ("0", "3")
    await office.post(office.priced(key, won("3"), held(share, settled=won("3"))))
    assert await office.figures() == ("3", "0")


async def test_a_window_that_a_whole_story_leaves_out_was_never_used(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    await office.start(last_epoch=1)
    assert await office.figures() == ("0", "0")


async def test_a_story_in_several_messages_concludes_with_the_last(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.budget("100", account="minh")
    org, own = (await office.raise_(key, COST)).shares
    process = new_id()
    await office.start(last_epoch=1, process_id=process, spent={window(org): won("3")}, more=True)
    assert ((await office.balance("acme"))["held"], (await office.balance("minh"))["held"]) == ("3", "7.8")
    await office.start(last_epoch=1, process_id=process, spent={window(own): won("4")})
    assert ((await office.balance("acme"))["held"], (await office.balance("minh"))["held"]) == ("3", "4")


async def test_a_whole_story_that_spent_more_than_was_granted_counts_it(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.start(last_epoch=1, spent={window(share): won("12")})
    assert await office.figures() == ("0", "12")


@pytest.mark.parametrize(
    "told",
    [
        {"is_whole": False, "last_epoch": 1, "last_record": 7},
        {"is_whole": True, "last_epoch": 0, "last_record": 9},
        {"is_whole": True, "last_epoch": 1, "last_record": 6},
    ],
    ids=["a gap in the journal", "another volume", "an older copy of the journal"],
)
async def test_what_is_not_the_whole_story_counts_as_spent(office: BudgetOffice, told: dict[str, Any]) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.beat(last_record=7)
    await office.start(spent={window(share): won("1")}, **told)
    assert await office.figures() == ("7.8", "0")
    assert await office.broken() == set()


async def test_what_a_lost_journal_left_in_suspense_stays_there_whatever_restarts_follow(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    assert await office.start(last_epoch=0) == 2
    assert await office.start(last_epoch=2) == 3
    assert await office.figures() == ("7.8", "0")


async def test_a_posting_of_a_lost_epoch_comes_out_of_its_suspense(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.start(last_epoch=0)
    await office.post(office.priced(key, won("3"), held(share, settled=won("3"))))
    assert await office.figures() == ("7.8", "0")
    assert await office.broken() == set()


async def test_a_silent_gateways_shares_count_as_spent_until_it_speaks(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    assert await office.wait(timedelta(minutes=9)) == 0
    assert await office.wait(timedelta(minutes=9)) == 1
    assert await office.figures() == ("7.8", "0")
    await office.beat(report(share))
    assert await office.figures() == ("0", "7.8")
    assert await office.broken() == set()


async def test_a_gateway_in_suspense_that_raises_has_spoken(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.wait(timedelta(minutes=18))
    await office.raise_(key, windows=[total(share, won("10"))])
    assert await office.figures() == ("0", "10")
    assert await office.broken() == set()


async def test_all_shares_of_a_lost_gateway_go_to_suspense_at_one_look(office: BudgetOffice) -> None:
    key = await office.ready("1")
    for number in range(105):
        await office.budget("100", account="minh", name=f"{number}")
    await office.raise_(key, 1)
    await office.wait(LOST_AFTER - timedelta(seconds=30))
    office.clock.move(timedelta(seconds=30))
    assert await office.shares.suspend_lost(LOST_AFTER) == 106


async def test_a_lost_gateway_that_comes_back_with_its_journal_settles_what_was_in_suspense(
    office: BudgetOffice,
) -> None:
    key = await office.ready("100")
    await office.budget("100", account="minh")
    org, _ = (await office.raise_(key, COST)).shares
    await office.wait(timedelta(minutes=18))
    await office.start(last_epoch=1, spent={window(org): won("3")})
    assert (await office.balance("acme"))["held"] == "3"
    assert await office.figures("minh") == ("0", "0")
    assert await office.broken() == set()


async def test_an_operator_may_release_what_was_silent_for_long_enough(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    await office.wait(RELEASE_AFTER + timedelta(minutes=1))
    (lost,) = (await office.admin.get("/api/suspended-shares")).json()["items"]
    assert (lost["gateway"], lost["epoch"], lost["held"], lost["currency"]) == ("gw", 1, "7.8", "KRW")
    assert (await office.release(reason="")).status_code == 422
    assert (await office.release()).json()["released_shares"] == 1
    assert (await office.release()).status_code == 404
    assert await office.figures() == ("0", "0")


async def test_a_gateway_that_may_still_be_at_work_is_not_released(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    await office.wait(RELEASE_AFTER - timedelta(minutes=1))
    refused = await office.release()
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "still_alive")
    assert await office.figures() == ("7.8", "0")


async def test_a_gateway_that_spoke_since_the_last_look_is_not_released(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    await office.wait(RELEASE_AFTER + timedelta(minutes=1))
    await office.beat()
    assert (await office.release()).status_code == 409
    await office.beat()


async def test_a_release_ends_the_epoch_of_a_gateway_that_lives_after_all(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.wait(RELEASE_AFTER + timedelta(minutes=1))
    await office.release()
    with pytest.raises(Fenced):
        await office.beat(report(share))
    with pytest.raises(Fenced):
        await office.raise_(key, windows=[total(share, won("20"))])
    assert await office.start(last_epoch=1) == 3
    assert await office.figures() == ("0", "0")


async def test_what_is_posted_after_a_release_counts_all_the_same(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.wait(RELEASE_AFTER + timedelta(minutes=1))
    await office.release()
    await office.post(office.priced(key, won("3"), held(share, settled=won("3"))))
    assert await office.figures() == ("3", "0")
    assert await office.broken() == set()


async def test_an_older_epoch_in_suspense_is_released_while_the_gateway_works_on(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    await office.start(last_epoch=0)
    assert (await office.release()).status_code == 409
    await office.wait(RELEASE_AFTER)
    assert (await office.release()).status_code == 200
    await office.beat(epoch=2)
    assert await office.figures() == ("0", "0")


async def test_budgets_of_a_silent_gateway_are_released_one_after_the_other(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.budget("100", account="minh")
    org, own = (await office.raise_(key, COST)).shares
    await office.wait(RELEASE_AFTER + timedelta(minutes=1))
    for share in (org, own):
        assert (await office.release(budget_id=str(share.budget_id))).status_code == 200
    assert (await office.admin.get("/api/suspended-shares")).json()["items"] == []


async def test_suspense_that_reaches_a_threshold_is_told_once_and_its_release_takes_it_back(
    office: BudgetOffice,
) -> None:
    key = await office.ready("10", thresholds=[{"severity": "warning", "percent": "50"}])
    share = await office.opened(key, COST)
    await office.start(last_epoch=0)
    assert [kind for kind, _ in await office.told()] == ["farebox.budget.threshold_crossed.v1"]
    await office.post(office.priced(key, won("3"), held(share, settled=won("3"))))
    assert [kind for kind, _ in await office.told()] == ["farebox.budget.threshold_crossed.v1"]
    await office.wait(RELEASE_AFTER)
    assert (await office.release()).status_code == 200
    assert [kind for kind, _ in await office.told()][1:] == ["farebox.budget.threshold_resolved.v1"]
    assert await office.figures() == ("3", "0")


async def test_what_postings_take_out_of_suspense_reaches_only_what_is_posted_by_then(office: BudgetOffice) -> None:
    key = await office.ready("10", thresholds=[{"severity": "at", "percent": percent} for percent in ("50", "90")])
    share = await office.opened(key, COST)
    await office.start(last_epoch=0)
    await office.post(*(office.priced(key, won("2.6"), held(share, settled=won("2.6"))) for _ in range(3)))
    assert await office.figures() == ("7.8", "0")
    told = [(event["threshold"]["percent"], event["provisional"]) for _, event in await office.told()]
    assert told == [("50", True), ("50", False)]
