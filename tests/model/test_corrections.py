"""Charges and corrections may come in any order, twice, in any batches: the books come to the same."""

from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from budget.budgets.rules import Budget
from farebox.events import CallAttributes, Held, HeldWindow, Measured, Principal, UsagePriced
from farebox.ids import new_id
from model.world import BEGINNING, ORG, Books, a_budget

amounts = st.integers(0, 50)
attempts = st.lists(st.tuples(amounts, amounts, st.lists(amounts, max_size=3)), min_size=1, max_size=4)
"""Of each: its charge, what is uncertain beside it, and what it is corrected to, again and again."""


def entry(
    attempt: UUID, budget: Budget, billed: int, *, uncertain: int = 0, corrects: UUID | None = None
) -> UsagePriced:
    settled = 0 if corrects else billed + uncertain
    return UsagePriced(
        entry_id=new_id() if corrects else attempt,
        attempt_id=attempt,
        request_id=attempt,
        kind="correction" if corrects else "charge",
        occurred_at=BEGINNING,
        priced_at=BEGINNING,
        principal=Principal(org=ORG, key="key-ann"),
        provider="openai",
        model="gpt-4o",
        cost_nano_usd=billed,
        billed_nano=billed,
        currency="USD",
        price_version="test",
        usage_source="estimated",
        held=Held(
            gateway="gw",
            epoch=1,
            windows=(HeldWindow(budget_id=budget.budget_id, start=BEGINNING),),
            settled=Measured(money=settled),
            uncertain=Measured(money=uncertain),
            attributes=CallAttributes(upstream="openai", provider="openai", model="gpt-4o"),
        ),
        corrects=corrects,
    )


@given(attempts, st.randoms(use_true_random=False), st.data())
def test_the_truth_counts_in_whatever_order_it_is_told(
    drawn: list[tuple[int, int, list[int]]], random: Random, data: st.DataObject
) -> None:
    budget = a_budget(ORG, "org", 10_000)
    books = Books([budget], ["ann"])
    entries: list[UsagePriced] = []
    for charge, uncertain, truths in drawn:
        last = entry(new_id(), budget, charge, uncertain=uncertain)
        entries.append(last)
        for before, truth in zip([charge, *truths], truths, strict=False):
            last = entry(last.attempt_id, budget, truth - before, corrects=last.entry_id)
            entries.append(last)
    told = entries + data.draw(st.lists(st.sampled_from(entries), max_size=4))
    random.shuffle(told)
    while told:
        size = data.draw(st.integers(1, len(told)))
        books.post(told[:size])
        told = told[size:]
    (window,) = books.store.tables.windows.values()
    (share,) = books.store.tables.shares.values()
    assert window.room.posted == sum(truths[-1] if truths else charge for charge, _, truths in drawn)
    assert window.room.uncertain == sum(uncertain for _, uncertain, truths in drawn if not truths)
    assert share.posted == sum(charge + uncertain for charge, uncertain, _ in drawn)
