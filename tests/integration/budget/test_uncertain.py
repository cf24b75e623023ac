"""What a provider did not report counts beside the charge until somebody knows better."""

from datetime import timedelta
from typing import Any

import pytest

from budget.posting.uncertain import free_uncertain
from budget.store import Store
from farebox.events import UsagePriced
from farebox.ids import new_id
from support.budget_service import BudgetService, held, report, won

COST = 6_000_000  # 7.80 won


async def unreported(service: BudgetService, key: dict[str, Any], **fields: Any) -> UsagePriced:
    """A call of which 2 won are charged, and 5.8 more may have been billed."""
    share = await service.opened(key, COST)
    return service.priced(key, won("2"), held(share, settled=won("7.8"), uncertain=won("5.8")), **fields)


async def listed(service: BudgetService) -> list[dict[str, Any]]:
    return list((await service.admin.get("/api/uncertain")).json()["items"])


async def test_what_is_uncertain_is_posted_beside_the_charge_and_is_not_free(service: BudgetService) -> None:
    key = await service.ready("10")
    await service.post(await unreported(service, key))
    balance = await service.balance()
    amounts = balance["spent"], balance["held"], balance["uncertain"], balance["remaining"]
    assert amounts == ("2", "0", "5.8", "2.2")
    assert await service.broken() == set()


async def test_what_is_uncertain_is_shown_and_an_operator_ends_it_with_a_reason(service: BudgetService) -> None:
    key = await service.ready("10")
    entry = await unreported(service, key)
    await service.post(entry)
    (row,) = await listed(service)
    assert (row["attempt_id"], row["account"], row["uncertain"]) == (str(entry.attempt_id), "acme", "5.8")
    end = f"/api/uncertain/{entry.attempt_id}/end"
    assert (await service.admin.post(end, json={})).status_code == 422
    assert (await service.admin.post(end, json={"reason": "the invoice says so"})).json()["ended"] == 1
    assert (await service.admin.post(end, json={"reason": "again"})).status_code == 404
    assert await listed(service) == []
    assert (await service.balance())["remaining"] == "8"
    assert await service.broken() == set()


async def test_every_window_that_held_the_call_keeps_what_is_uncertain(service: BudgetService) -> None:
    key = await service.ready("10")
    await service.budget("20", account="minh")
    shares = (await service.raise_(key, COST)).shares
    entry = service.priced(key, won("2"), held(*shares, settled=won("7.8"), uncertain=won("5.8")))
    await service.post(entry)
    answer = await service.admin.post(f"/api/uncertain/{entry.attempt_id}/end", json={"reason": "known"})
    assert answer.json()["ended"] == 2
    assert await service.broken() == set()


def correction(
    service: BudgetService, key: dict[str, Any], entry: UsagePriced, amount: int, **fields: Any
) -> UsagePriced:
    return service.priced(key, amount, kind="correction", attempt_id=entry.attempt_id, requests=0, tokens=0, **fields)


async def test_the_true_usage_ends_what_is_uncertain(service: BudgetService) -> None:
    key = await service.ready("10")
    entry = await unreported(service, key)
    await service.post(entry)
    await service.post(correction(service, key, entry, won("1"), held=entry.held))
    balance = await service.balance()
    assert (balance["spent"], balance["uncertain"], await listed(service)) == ("3", "0", [])
    assert await service.broken() == set()


async def test_the_true_usage_ends_what_is_uncertain_in_one_batch_with_its_charge(service: BudgetService) -> None:
    key = await service.ready("10")
    entry = await unreported(service, key)
    await service.post(entry, correction(service, key, entry, won("1"), held=entry.held))
    balance = await service.balance()
    assert (balance["spent"], balance["uncertain"], await listed(service)) == ("3", "0", [])
    assert await service.broken() == set()


async def test_a_correction_ends_what_is_uncertain_in_windows_it_does_not_post_to(service: BudgetService) -> None:
    key = await service.ready("10", narrowed_to={"model": "gpt-4o"})
    entry = await unreported(service, key)
    await service.post(entry)
    await service.post(correction(service, key, entry, won("1"), model="o1"))
    balance = await service.balance()
    assert (balance["uncertain"], await listed(service)) == ("0", [])
    assert await service.broken() == set()


async def test_an_uncertain_entry_that_comes_twice_counts_once(service: BudgetService) -> None:
    key = await service.ready("10")
    entry = await unreported(service, key)
    await service.post(entry, entry)
    await service.post(entry)
    assert (await service.balance())["uncertain"] == "5.8"
    assert await service.broken() == set()


async def test_what_no_attempt_left_uncertain_cannot_be_ended(service: BudgetService) -> None:
    answer = await service.admin.post(f"/api/uncertain/{new_id()}/end", json={"reason": "none"})
    assert answer.status_code == 404


async def test_what_is_uncertain_is_no_longer_held_nor_returned_twice(service: BudgetService) -> None:
    key = await service.ready("10")
    entry = await unreported(service, key)
    assert entry.held is not None
    await service.post(entry)
    share = await service.opened(key, COST)
    await service.beat(report(share, returned=0))
    assert await service.figures() == ("2", "0")


async def freed(service: BudgetService, after: timedelta) -> int:
    service.clock.move(after)
    return await free_uncertain(Store(service.pool), service.clock)


async def test_what_is_uncertain_counts_until_it_is_ended_where_no_account_says_otherwise(
    service: BudgetService,
) -> None:
    await service.post(await unreported(service, await service.ready("10")))
    assert await freed(service, timedelta(days=23)) == 0
    assert len(await listed(service)) == 1


@pytest.mark.parametrize(("later_s", "remaining"), [(599, "2.2"), (600, "8")])
async def test_an_account_may_choose_for_how_long_it_counts(
    service: BudgetService, later_s: int, remaining: str
) -> None:
    key = await service.ready("10")
    await service.admin.patch("/api/accounts/acme", json={"uncertain_for_s": 600})
    await service.post(await unreported(service, key))
    assert await freed(service, timedelta(seconds=later_s)) == (remaining == "8")
    assert (await service.balance())["remaining"] == remaining
    assert await service.broken() == set()


async def test_several_attempts_of_one_window_are_freed_together(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.admin.patch("/api/accounts/platform", json={"uncertain_for_s": 600})
    await service.post(await unreported(service, key))
    await service.post(await unreported(service, key))
    assert await freed(service, timedelta(seconds=600)) == 2
    assert ((await service.balance())["uncertain"], await listed(service)) == ("0", [])
    assert await service.broken() == set()


async def test_only_budgets_of_the_account_that_chose_it_and_below_are_freed(service: BudgetService) -> None:
    key = await service.ready("10")
    await service.budget("20", account="minh")
    await service.admin.patch("/api/accounts/core", json={"uncertain_for_s": 600})
    shares = (await service.raise_(key, COST)).shares
    await service.post(service.priced(key, won("2"), held(*shares, settled=won("7.8"), uncertain=won("5.8"))))
    assert await freed(service, timedelta(seconds=600)) == 1
    (row,) = await listed(service)
    assert row["account"] == "acme"
    assert await service.broken() == set()


async def test_an_account_below_may_keep_what_the_one_above_would_free(service: BudgetService) -> None:
    key = await service.ready("10")
    await service.admin.patch("/api/accounts/platform", json={"uncertain_for_s": 600})
    await service.admin.patch("/api/accounts/acme", json={"uncertain_for_s": 0})
    await service.post(await unreported(service, key))
    assert await freed(service, timedelta(seconds=600)) == 0


async def test_the_true_usage_is_posted_also_where_it_was_taken_for_nothing(service: BudgetService) -> None:
    key = await service.ready("10")
    await service.admin.patch("/api/accounts/acme", json={"uncertain_for_s": 600})
    entry = await unreported(service, key)
    await service.post(entry)
    await freed(service, timedelta(seconds=600))
    await service.post(correction(service, key, entry, won("5"), held=entry.held))
    balance = await service.balance()
    assert (balance["spent"], balance["uncertain"]) == ("7", "0")
    assert await service.broken() == set()
