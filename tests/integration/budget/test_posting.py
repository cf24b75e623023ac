"""Posting on a real PostgreSQL: exactly once, in the windows that held the call, every mark announced exactly once."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from farebox.events import CallAttributes, LeaseUse
from farebox.ids import new_id
from support.office import ANY_CALL, BudgetOffice, held, report, total, won

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


async def test_an_entry_is_posted_once_however_often_it_arrives(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    entry = office.priced(key, won("7.8"))
    await office.post(entry, entry)
    await asyncio.gather(office.post(entry), office.post(entry))
    assert (await office.balance())["spent"] == "7.8"


async def test_a_charge_that_is_not_what_was_settled_leaves_nothing_held(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    # Cheaper by now than when the gateway settled it at 5.
    await office.post(office.priced(key, won("4"), held(share, settled=won("5"))))
    await office.beat(report(share, returned=won("2.8")))
    assert await office.figures() == ("4", "0")


async def test_posting_releases_what_the_share_held_for_it(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.post(office.priced(key, won("5"), held(share, settled=won("5"))))
    balance = await office.balance()
    assert (balance["spent"], balance["held"], balance["remaining"]) == ("5", "2.8", "92.2")


async def test_a_posting_before_its_share_is_known_counts_once_it_is(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.pool.execute("DELETE FROM budget_share")
    await office.pool.execute("UPDATE budget_window SET escrowed = 0")
    await office.post(office.priced(key, won("5"), held(share, settled=won("5"))))
    await office.beat(report(share))
    assert await office.figures() == ("5", "2.8")


async def test_what_was_not_held_is_posted_beside_the_shares(office: BudgetOffice) -> None:
    key = await office.ready("100")
    await office.opened(key, COST)
    await office.post(office.priced(key, won("5")))
    assert await office.figures() == ("5", "7.8")


async def test_a_late_entry_posts_to_the_window_that_held_it(office: BudgetOffice) -> None:
    key = await office.ready("100", window={"kind": "day", "zone": "Asia/Seoul"})
    share = await office.opened(key, COST)
    office.clock.move(timedelta(days=1))
    await office.post(office.priced(key, won("7.8"), held(share, settled=won("7.8"))))
    assert await office.figures() == ("0", "0")
    office.clock.move(-timedelta(days=1))
    assert await office.figures() == ("7.8", "0")


async def test_every_level_and_measure_on_the_path_counts(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    await office.budget("10", account="minh", measure="requests")
    await office.budget("1000", account="core", measure="tokens", mode="soft")
    key = await office.key()
    await office.post(office.priced(key, won("7.8")), office.priced(key, won("1")))
    answer = await office.admin.get("/api/balances", params={"account": "minh"})
    assert [item["spent"] for item in answer.json()["items"]] == ["8.8", "200", "2"]


async def test_a_suspended_call_posts_nothing_until_it_is_priced(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    waiting = office.priced(key, 0, billed_nano=None, cost_nano_usd=None, suspense="unknown_model")
    await office.post(waiting)
    await office.post(waiting.model_copy(update={"billed_nano": won("3"), "suspense": None}))
    assert (await office.balance())["spent"] == "3"


async def test_each_threshold_is_announced_once_also_when_two_replicas_cross_it_together(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100", thresholds=MARKS)
    key = await office.key()
    entries = [office.priced(key, won("10")) for _ in range(9)]
    await asyncio.gather(*(office.post(entry) for entry in entries), *(office.post(entry) for entry in entries))
    told = await office.told()
    assert sorted(marks(told)) == [("crossed", "info", True), ("crossed", "warning", True)]


async def test_of_the_thresholds_one_entry_crosses_people_hear_of_the_highest(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100", thresholds=MARKS)
    key = await office.key()
    await office.post(office.priced(key, won("80")))
    assert marks(await office.told()) == [("crossed", "info", False), ("crossed", "warning", True)]


async def test_entries_of_one_batch_cross_thresholds_one_by_one(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100", thresholds=MARKS)
    key = await office.key()
    await office.post(office.priced(key, won("50")), office.priced(key, won("35")))
    told = await office.told()
    assert marks(told) == [("crossed", "info", True), ("crossed", "warning", True)]
    assert [event["budget"]["spent"] for _, event in told] == [won("50"), won("85")]


async def test_a_raise_resolves_what_is_no_longer_crossed_and_counts_as_a_new_revision(office: BudgetOffice) -> None:
    await office.org()
    budget = await office.budget("100", thresholds=MARKS)
    key = await office.key()
    await office.post(office.priced(key, won("80")))
    await office.admin.patch(f"/api/budgets/{budget}", json={"limit": "200"})
    await office.post(office.priced(key, won("20")))
    assert marks(await office.told())[2:] == [
        ("resolved", "info", False),  # people heard of the warning only
        ("resolved", "warning", True),
        ("crossed", "info", True),
    ]


async def test_a_limit_cut_below_what_is_spent_is_a_state_that_is_told(office: BudgetOffice) -> None:
    await office.org()
    budget = await office.budget("100")
    key = await office.key()
    await office.post(office.priced(key, won("60")))
    answer = await office.admin.patch(f"/api/budgets/{budget}", json={"limit": "50"})
    assert answer.status_code == 200
    assert marks(await office.told()) == [("exhausted", "", False), ("over", "", True)]
    assert (await office.balance())["remaining"] == "0"


async def test_alerts_off_keeps_the_event_and_spares_people(office: BudgetOffice) -> None:
    await office.org(alerts=False)
    await office.budget("100", thresholds=MARKS)
    key = await office.key()
    await office.post(office.priced(key, won("50")))
    assert marks(await office.told()) == [("crossed", "info", False)]


async def test_paused_budgets_count_and_say_nothing(office: BudgetOffice) -> None:
    await office.org()
    budget = await office.budget("100", thresholds=MARKS)
    await office.admin.patch(f"/api/budgets/{budget}", json={"active": False})
    key = await office.key()
    await office.post(office.priced(key, won("150")))
    assert await office.told() == []
    assert (await office.balance())["spent"] == "150"


async def test_a_correction_below_a_threshold_resolves_it(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100", thresholds=MARKS)
    key = await office.key()
    await office.post(office.priced(key, won("55")))
    await office.post(office.priced(key, -won("10"), kind="correction", requests=0, tokens=0))
    assert marks(await office.told()) == [("crossed", "info", True), ("resolved", "info", True)]
    assert (await office.balance())["spent"] == "45"


async def test_an_entry_in_another_currency_is_left_out_of_the_budgets_that_did_not_hold_it(
    office: BudgetOffice,
) -> None:
    await office.org()
    await office.budget("100")
    await office.budget("10", account="minh", measure="requests")
    assert await office.post(office.priced(await office.key(), 1, currency="USD")) == []
    assert ((await office.balance("acme"))["spent"], (await office.balance("minh"))["spent"]) == ("0", "1")


async def test_a_window_that_held_a_call_in_another_currency_counts_what_was_settled(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    await office.budget("100", account="minh")
    use = held(share, settled=won("6"), uncertain=won("1"))
    await office.post(office.priced(key, 4_000_000, use, currency="USD"))
    assert await office.figures("acme") == ("5", "1.8")
    assert await office.figures("minh") == ("0", "0")
    assert await office.broken() == set()


async def test_a_bill_above_its_reserve_is_posted_and_puts_the_window_over(office: BudgetOffice) -> None:
    key = await office.ready("10")
    share = await office.opened(key, COST)
    await office.post(office.priced(key, won("12"), held(share, settled=won("12"))))
    balance = await office.balance()
    assert (balance["spent"], balance["held"], balance["percent_spent"]) == ("12", "0", str(Decimal("120.00")))


async def test_an_entry_of_the_version_before_under_an_unknown_lease_posts_by_its_time(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("10")
    key = await office.key()
    await office.post(office.priced(key, won("1"), lease=LeaseUse(lease_id=new_id(), reserve_nano=won("1"))))
    assert (await office.balance())["spent"] == "1"


async def test_what_was_held_posts_to_the_windows_that_held_it_whatever_model_served(office: BudgetOffice) -> None:
    key = await office.ready("10", narrowed_to={"model": "gpt-4o"})
    share = await office.opened(key, COST)
    await office.post(office.priced(key, won("5"), held(share, settled=won("5")), model="gpt-4o-mini-2024-07-18"))
    assert await office.figures() == ("5", "2.8")


@pytest.mark.parametrize(
    "narrowed_to",
    [{"provider": "openai-eu"}, {"provider": "OpenAI"}, {"model": "GPT-4o"}, {"model": "gpt-4o-2024-08-06"}],
)
async def test_a_narrowed_budget_counts_what_a_call_was_admitted_under(
    office: BudgetOffice, narrowed_to: dict[str, str]
) -> None:
    await office.org()
    await office.budget("10", mode="soft", narrowed_to=narrowed_to)
    call = CallAttributes(upstream="openai-eu", provider="openai", model="gpt-4o")
    use = held(settled=won("5"), call=call)
    await office.post(office.priced(await office.key(), won("5"), use, provider="openai-eu", model="o1-2024-12-17"))
    assert (await office.balance())["spent"] == "5"


async def test_a_narrowed_budget_counts_nothing_of_other_calls(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("10", mode="soft", narrowed_to={"model": "o1"})
    await office.post(office.priced(await office.key(), won("5"), held(settled=won("5"), call=ANY_CALL), model="o1"))
    assert (await office.balance())["spent"] == "0"


async def test_the_newest_balance_is_published_under_the_budgets_key(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("10")
    key = await office.key()
    await office.post(office.priced(key, won("1")))
    await office.post(office.priced(key, won("2")))
    states = [event["budget"] for _, event in await office.told("budget.balances")]
    assert [state["spent"] for state in states] == [won("1"), won("3")]
    assert states[0]["revision"] < states[1]["revision"]


async def test_a_late_posting_does_not_take_the_place_of_the_present_balance(office: BudgetOffice) -> None:
    key = await office.ready("100", window={"kind": "day", "zone": "Asia/Seoul"})
    share = await office.opened(key, COST)
    office.clock.move(timedelta(days=1))
    await office.post(office.priced(key, won("1")))
    await office.post(office.priced(key, won("7.8"), held(share, settled=won("7.8"))))
    states = [event["budget"] for _, event in await office.told("budget.balances")]
    assert states[-1]["spent"] == won("1")


async def test_an_entry_that_comes_twice_in_and_across_batches_moves_its_share_once(office: BudgetOffice) -> None:
    key = await office.ready("100")
    share = await office.opened(key, COST)
    entry = office.priced(key, won("5"), held(share, settled=won("5")))
    await asyncio.gather(*(office.post(entry, entry) for _ in range(3)))
    assert await office.figures() == ("5", "2.8")
    (again,) = (await office.raise_(key, windows=[total(share, won("10"))])).shares
    assert again.granted == won("10")
    assert await office.broken() == set()
