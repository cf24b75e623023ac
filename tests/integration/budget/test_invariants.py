"""Books that are wrong are found: each sentence is broken by hand once, and holds before."""

import pytest

from budget.store import QUERIES
from farebox.invariants import look
from support.office import BudgetOffice, won

COST = 6_000_000  # 7.80 won
BREAKING = {
    "escrow_is_held": "UPDATE budget_window SET escrowed = escrowed + 1",
    "within_limit": "ALTER TABLE budget_window DROP CONSTRAINT within_limit; UPDATE budget_window SET posted = 10^12",
    "dead_epochs_hold_nothing": "UPDATE gateway SET epoch = epoch + 1",
    "marks_are_noted": "DELETE FROM crossing",
}


async def broken(office: BudgetOffice) -> set[str]:
    return {each.name for each in await look(office.pool, QUERIES) if each.rows}


async def at_work(office: BudgetOffice) -> None:
    """Some spending, a crossed threshold, a lease in hand and one in suspense."""
    await office.org()
    await office.budget("20", thresholds=[{"severity": "warning", "percent": "12.5"}, {"severity": "a", "amount": "3"}])
    key = await office.key()
    await office.start()
    await office.grant(key, COST)
    await office.start(last_epoch=0)
    lease = (await office.grant(key, COST, epoch=2)).lease
    assert lease is not None
    await office.post(office.priced(key, won("3"), lease.lease_id))


async def test_sound_books_break_no_sentence(office: BudgetOffice) -> None:
    await at_work(office)
    found = await look(office.pool, QUERIES)
    assert {each.name for each in found} == set(BREAKING)
    assert [each for each in found if each.rows] == []
    assert all(each.sentence.endswith(".") for each in found)


@pytest.mark.parametrize("name", BREAKING)
async def test_wrong_books_are_found(office: BudgetOffice, name: str) -> None:
    await at_work(office)
    await office.pool.execute(BREAKING[name])
    assert name in await broken(office)
