"""What a provider did not report counts beside the charge until somebody knows better."""

from typing import Any

from farebox.events import UsagePriced
from farebox.ids import new_id
from support.office import BudgetOffice, held, report, won

COST = 6_000_000  # 7.80 won


async def unreported(office: BudgetOffice, key: dict[str, Any], **fields: Any) -> UsagePriced:
    """A call of which 2 won are charged, and 5.8 more may have been billed."""
    share = await office.opened(key, COST)
    return office.priced(key, won("2"), held(share, settled=won("7.8"), uncertain=won("5.8")), **fields)


async def listed(office: BudgetOffice) -> list[dict[str, Any]]:
    return list((await office.admin.get("/api/uncertain")).json()["items"])


async def test_what_is_uncertain_is_posted_beside_the_charge_and_is_not_free(office: BudgetOffice) -> None:
    key = await office.ready("10")
    await office.post(await unreported(office, key))
    balance = await office.balance()
    amounts = balance["spent"], balance["held"], balance["uncertain"], balance["remaining"]
    assert amounts == ("2", "0", "5.8", "2.2")
    assert await office.broken() == set()


async def test_what_is_uncertain_is_shown_and_an_operator_ends_it_with_a_reason(office: BudgetOffice) -> None:
    key = await office.ready("10")
    entry = await unreported(office, key)
    await office.post(entry)
    (row,) = await listed(office)
    assert (row["attempt_id"], row["account"], row["uncertain"]) == (str(entry.attempt_id), "acme", "5.8")
    end = f"/api/uncertain/{entry.attempt_id}/end"
    assert (await office.admin.post(end, json={})).status_code == 422
    assert (await office.admin.post(end, json={"reason": "the invoice says so"})).json()["ended"] == 1
    assert (await office.admin.post(end, json={"reason": "again"})).status_code == 404
    assert await listed(office) == []
    assert (await office.balance())["remaining"] == "8"
    assert await office.broken() == set()


async def test_every_window_that_held_the_call_keeps_what_is_uncertain(office: BudgetOffice) -> None:
    key = await office.ready("10")
    await office.budget("20", account="minh")
    shares = (await office.raise_(key, COST)).shares
    entry = office.priced(key, won("2"), held(*shares, settled=won("7.8"), uncertain=won("5.8")))
    await office.post(entry)
    answer = await office.admin.post(f"/api/uncertain/{entry.attempt_id}/end", json={"reason": "known"})
    assert answer.json()["ended"] == 2
    assert await office.broken() == set()


def correction(
    office: BudgetOffice, key: dict[str, Any], entry: UsagePriced, amount: int, **fields: Any
) -> UsagePriced:
    return office.priced(key, amount, kind="correction", attempt_id=entry.attempt_id, requests=0, tokens=0, **fields)


async def test_the_true_usage_ends_what_is_uncertain(office: BudgetOffice) -> None:
    key = await office.ready("10")
    entry = await unreported(office, key)
    await office.post(entry)
    await office.post(correction(office, key, entry, won("1"), held=entry.held))
    balance = await office.balance()
    assert (balance["spent"], balance["uncertain"], await listed(office)) == ("3", "0", [])
    assert await office.broken() == set()


async def test_the_true_usage_ends_what_is_uncertain_in_one_batch_with_its_charge(office: BudgetOffice) -> None:
    key = await office.ready("10")
    entry = await unreported(office, key)
    await office.post(entry, correction(office, key, entry, won("1"), held=entry.held))
    balance = await office.balance()
    assert (balance["spent"], balance["uncertain"], await listed(office)) == ("3", "0", [])
    assert await office.broken() == set()


async def test_a_correction_ends_what_is_uncertain_in_windows_it_does_not_post_to(office: BudgetOffice) -> None:
    key = await office.ready("10", narrowed_to={"model": "gpt-4o"})
    entry = await unreported(office, key)
    await office.post(entry)
    await office.post(correction(office, key, entry, won("1"), model="o1"))
    balance = await office.balance()
    assert (balance["uncertain"], await listed(office)) == ("0", [])
    assert await office.broken() == set()


async def test_an_uncertain_entry_that_comes_twice_counts_once(office: BudgetOffice) -> None:
    key = await office.ready("10")
    entry = await unreported(office, key)
    await office.post(entry, entry)
    await office.post(entry)
    assert (await office.balance())["uncertain"] == "5.8"
    assert await office.broken() == set()


async def test_what_no_attempt_left_uncertain_cannot_be_ended(office: BudgetOffice) -> None:
    answer = await office.admin.post(f"/api/uncertain/{new_id()}/end", json={"reason": "none"})
    assert answer.status_code == 404


async def test_what_is_uncertain_is_no_longer_held_nor_returned_twice(office: BudgetOffice) -> None:
    key = await office.ready("10")
    entry = await unreported(office, key)
    assert entry.held is not None
    await office.post(entry)
    share = await office.opened(key, COST)
    await office.beat(report(share, returned=0))
    assert await office.figures() == ("2", "0")
