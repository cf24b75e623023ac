"""Posting on a real PostgreSQL: exactly once, in the windows that held the call, every mark announced exactly once."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from farebox.events import CallAttributes, LeaseUse
from farebox.ids import new_id
from support.budget_service import ANY_CALL, BudgetService, held, report, total, won

COST = 6_000_000
MARKS = [{"severity": "info", "percent": "50"}, {"severity": "warning", "percent": "80"}]


def marks(told: list[tuple[str, Any]]) -> list[tuple[str, str, bool]]:
    """Kind, severity and whether people hear of it, of each event."""
    kinds = {
        "threshold_crossed": "crossed",
        "threshold_resolved": "resolved",
        "exhausted": "exhausted",
        "over_limit": "over",
    }
    return [
        (
            next(short for name, short in kinds.items() if name in headers),
            event.get("threshold", {}).get("severity", ""),
            event["notify_people"],
        )
        for headers, event in told
    ]


async def test_an_entry_is_posted_once_however_often_it_arrives(service: BudgetService) -> None:
    await service.org()
    await service.budget("100")
    key = await service.key()
    entry = service.priced(key, won("7.8"))
    await service.post(entry, entry)
    await asyncio.gather(service.post(entry), service.post(entry))
    assert (await service.balance())["spent"] == "7.8"


async def test_a_charge_that_is_not_what_was_settled_leaves_nothing_held(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    # Cheaper by now than when the gateway settled it at 5.
    await service.post(service.priced(key, won("4"), held(share, settled=won("5"))))
    await service.beat(report(share, returned=won("2.8")))
    assert await service.figures() == ("4", "0")


async def test_posting_releases_what_the_share_held_for_it(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.post(service.priced(key, won("5"), held(share, settled=won("5"))))
    balance = await service.balance()
    assert (balance["spent"], balance["held"], balance["remaining"]) == ("5", "2.8", "92.2")


async def test_a_posting_before_its_share_is_known_counts_once_it_is(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.pool.execute("DELETE FROM budget_share")
    await service.pool.execute("UPDATE budget_window SET escrowed = 0")
    await service.post(service.priced(key, won("5"), held(share, settled=won("5"))))
    await service.beat(report(share))
    assert await service.figures() == ("5", "2.8")


async def test_what_was_not_held_is_posted_beside_the_shares(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.opened(key, COST)
    await service.post(service.priced(key, won("5")))
    assert await service.figures() == ("5", "7.8")


async def test_a_late_entry_posts_to_the_window_that_held_it(service: BudgetService) -> None:
    key = await service.ready("100", window={"kind": "day", "zone": "Asia/Seoul"})
    share = await service.opened(key, COST)
    service.clock.move(timedelta(days=1))
    await service.post(service.priced(key, won("7.8"), held(share, settled=won("7.8"))))
    assert await service.figures() == ("0", "0")
    service.clock.move(-timedelta(days=1))
    assert await service.figures() == ("7.8", "0")


async def test_every_level_and_measure_on_the_path_counts(service: BudgetService) -> None:
    await service.org()
    await service.budget("100")
    await service.budget("10", account="minh", measure="requests")
    await service.budget("1000", account="core", measure="tokens", mode="soft")
    key = await service.key()
    await service.post(service.priced(key, won("7.8")), service.priced(key, won("1")))
    answer = await service.admin.get("/api/balances", params={"account": "minh"})
    assert [item["spent"] for item in answer.json()["items"]] == ["8.8", "200", "2"]


async def test_a_suspended_call_posts_nothing_until_it_is_priced(service: BudgetService) -> None:
    await service.org()
    await service.budget("100")
    key = await service.key()
    waiting = service.priced(key, 0, billed_nano=None, cost_nano_usd=None, suspense="unknown_model")
    await service.post(waiting)
    await service.post(waiting.model_copy(update={"billed_nano": won("3"), "suspense": None}))
    assert (await service.balance())["spent"] == "3"


async def test_each_threshold_is_announced_once_also_when_two_replicas_cross_it_together(
    service: BudgetService,
) -> None:
    await service.org()
    await service.budget("100", thresholds=MARKS)
    key = await service.key()
    entries = [service.priced(key, won("10")) for _ in range(9)]
    await asyncio.gather(*(service.post(entry) for entry in entries), *(service.post(entry) for entry in entries))
    told = await service.told()
    assert sorted(marks(told)) == [("crossed", "info", True), ("crossed", "warning", True)]


async def test_of_the_thresholds_one_entry_crosses_people_hear_of_the_highest(service: BudgetService) -> None:
    await service.org()
    await service.budget("100", thresholds=MARKS)
    key = await service.key()
    await service.post(service.priced(key, won("80")))
    assert marks(await service.told()) == [("crossed", "info", False), ("crossed", "warning", True)]


async def test_entries_of_one_batch_cross_thresholds_one_by_one(service: BudgetService) -> None:
    await service.org()
    await service.budget("100", thresholds=MARKS)
    key = await service.key()
    await service.post(service.priced(key, won("50")), service.priced(key, won("35")))
    told = await service.told()
    assert marks(told) == [("crossed", "info", True), ("crossed", "warning", True)]
    assert [event["budget"]["spent"] for _, event in told] == [won("50"), won("85")]


async def test_a_raise_resolves_what_is_no_longer_crossed_and_counts_as_a_new_revision(service: BudgetService) -> None:
    await service.org()
    budget = await service.budget("100", thresholds=MARKS)
    key = await service.key()
    await service.post(service.priced(key, won("80")))
    await service.admin.patch(f"/api/budgets/{budget}", json={"limit": "200"})
    await service.post(service.priced(key, won("20")))
    assert marks(await service.told())[2:] == [
        ("resolved", "info", False),  # people heard of the warning only
        ("resolved", "warning", True),
        ("crossed", "info", True),
    ]


async def test_a_limit_cut_below_what_is_spent_is_a_state_that_is_told(service: BudgetService) -> None:
    await service.org()
    budget = await service.budget("100")
    key = await service.key()
    await service.post(service.priced(key, won("60")))
    answer = await service.admin.patch(f"/api/budgets/{budget}", json={"limit": "50"})
    assert answer.status_code == 200
    assert marks(await service.told()) == [("exhausted", "", False), ("over", "", True)]
    assert (await service.balance())["remaining"] == "0"


async def test_alerts_off_keeps_the_event_and_spares_people(service: BudgetService) -> None:
    await service.org(alerts=False)
    await service.budget("100", thresholds=MARKS)
    key = await service.key()
    await service.post(service.priced(key, won("50")))
    assert marks(await service.told()) == [("crossed", "info", False)]


async def test_paused_budgets_count_and_say_nothing(service: BudgetService) -> None:
    await service.org()
    budget = await service.budget("100", thresholds=MARKS)
    await service.admin.patch(f"/api/budgets/{budget}", json={"active": False})
    key = await service.key()
    await service.post(service.priced(key, won("150")))
    assert await service.told() == []
    assert (await service.balance())["spent"] == "150"


async def test_a_correction_below_a_threshold_resolves_it(service: BudgetService) -> None:
    await service.org()
    await service.budget("100", thresholds=MARKS)
    key = await service.key()
    await service.post(service.priced(key, won("55")))
    await service.post(service.priced(key, -won("10"), kind="correction", requests=0, tokens=0))
    assert marks(await service.told()) == [("crossed", "info", True), ("resolved", "info", True)]
    assert (await service.balance())["spent"] == "45"


async def test_an_entry_in_another_currency_is_left_out_of_the_budgets_that_did_not_hold_it(
    service: BudgetService,
) -> None:
    await service.org()
    await service.budget("100")
    await service.budget("10", account="minh", measure="requests")
    assert await service.post(service.priced(await service.key(), 1, currency="USD")) == []
    assert ((await service.balance("acme"))["spent"], (await service.balance("minh"))["spent"]) == ("0", "1")


async def test_a_window_that_held_a_call_in_another_currency_counts_what_was_settled(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.budget("100", account="minh")
    use = held(share, settled=won("6"), uncertain=won("1"))
    await service.post(service.priced(key, 4_000_000, use, currency="USD"))
    assert await service.figures("acme") == ("5", "1.8")
    assert await service.figures("minh") == ("0", "0")
    assert await service.broken() == set()


async def test_a_bill_above_its_reserve_is_posted_and_puts_the_window_over(service: BudgetService) -> None:
    key = await service.ready("10")
    share = await service.opened(key, COST)
    await service.post(service.priced(key, won("12"), held(share, settled=won("12"))))
    balance = await service.balance()
    assert (balance["spent"], balance["held"], balance["percent_spent"]) == ("12", "0", str(Decimal("120.00")))


async def test_an_entry_of_the_version_before_under_an_unknown_lease_posts_by_its_time(service: BudgetService) -> None:
    await service.org()
    await service.budget("10")
    key = await service.key()
    await service.post(service.priced(key, won("1"), lease=LeaseUse(lease_id=new_id(), reserve_nano=won("1"))))
    assert (await service.balance())["spent"] == "1"


async def test_what_was_held_posts_to_the_windows_that_held_it_whatever_model_served(service: BudgetService) -> None:
    key = await service.ready("10", narrowed_to={"model": "gpt-4o"})
    share = await service.opened(key, COST)
    await service.post(service.priced(key, won("5"), held(share, settled=won("5")), model="gpt-4o-mini-2024-07-18"))
    assert await service.figures() == ("5", "2.8")


@pytest.mark.parametrize(
    "narrowed_to",
    [{"provider": "openai-eu"}, {"provider": "OpenAI"}, {"model": "GPT-4o"}, {"model": "gpt-4o-2024-08-06"}],
)
async def test_a_narrowed_budget_counts_what_a_call_was_admitted_under(
    service: BudgetService, narrowed_to: dict[str, str]
) -> None:
    await service.org()
    await service.budget("10", mode="soft", narrowed_to=narrowed_to)
    call = CallAttributes(upstream="openai-eu", provider="openai", model="gpt-4o")
    use = held(settled=won("5"), call=call)
    await service.post(service.priced(await service.key(), won("5"), use, provider="openai-eu", model="o1-2024-12-17"))
    assert (await service.balance())["spent"] == "5"


async def test_a_narrowed_budget_counts_nothing_of_other_calls(service: BudgetService) -> None:
    await service.org()
    await service.budget("10", mode="soft", narrowed_to={"model": "o1"})
    await service.post(service.priced(await service.key(), won("5"), held(settled=won("5"), call=ANY_CALL), model="o1"))
    assert (await service.balance())["spent"] == "0"


async def test_the_newest_balance_is_published_under_the_budgets_key(service: BudgetService) -> None:
    await service.org()
    await service.budget("10")
    key = await service.key()
    await service.post(service.priced(key, won("1")))
    await service.post(service.priced(key, won("2")))
    states = [event["budget"] for _, event in await service.told("budget.balances")]
    assert [state["spent"] for state in states] == [won("1"), won("3")]
    assert states[0]["revision"] < states[1]["revision"]


async def test_a_late_posting_does_not_take_the_place_of_the_present_balance(service: BudgetService) -> None:
    key = await service.ready("100", window={"kind": "day", "zone": "Asia/Seoul"})
    share = await service.opened(key, COST)
    service.clock.move(timedelta(days=1))
    await service.post(service.priced(key, won("1")))
    await service.post(service.priced(key, won("7.8"), held(share, settled=won("7.8"))))
    states = [event["budget"] for _, event in await service.told("budget.balances")]
    assert states[-1]["spent"] == won("1")


async def test_an_entry_that_comes_twice_in_and_across_batches_moves_its_share_once(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    entry = service.priced(key, won("5"), held(share, settled=won("5")))
    await asyncio.gather(*(service.post(entry, entry) for _ in range(3)))
    assert await service.figures() == ("5", "2.8")
    (again,) = (await service.raise_(key, windows=[total(share, won("10"))])).shares
    assert again.granted == won("10")
    assert await service.broken() == set()
