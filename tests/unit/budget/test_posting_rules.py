"""Which windows and shares an entry is posted to, and how much. Pure; `test_posting` does it on a database."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget.budgets.rules import Budget, fresh_window
from budget.budgets.windows import Calendar
from budget.posting.rules import Part, Tally, apply, tally
from budget.shares.rules import Share, ShareKey
from farebox.events import (
    AccountRef,
    CallAttributes,
    Held,
    HeldWindow,
    LeaseUse,
    Measured,
    Principal,
    UsagePriced,
)
from farebox.matching import EVERYTHING, Narrowing

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = datetime(2026, 3, 2, tzinfo=UTC)
CALL = CallAttributes(upstream="openai-eu", provider="openai", model="gpt-4o")


def budget(number: int = 1, **fields: Any) -> Budget:
    values: dict[str, Any] = {
        "budget_id": UUID(int=number),
        "name": "all",
        "account": AccountRef(id="acme", kind="org", name="Acme"),
        "path": ("platform", "acme"),
        "measure": "money",
        "currency": "KRW",
        "calendar": Calendar("day", "UTC"),
        "limit": 1_000,
        "limit_revision": 1,
        "mode": "hard",
        "is_active": True,
        "marks": (),
        "narrowed_to": EVERYTHING,
        "counts_from": TODAY,
    }
    return Budget(**(values | fields))


def held(settled: int, uncertain: int = 0, *, number: int = 1, start: datetime = TODAY) -> Held:
    return Held(
        gateway="gw",
        epoch=3,
        windows=(HeldWindow(budget_id=UUID(int=number), start=start),),
        settled=Measured(money=settled, requests=1, tokens=7),
        uncertain=Measured(money=uncertain),
        attributes=CALL,
    )


def entry(billed: int = 10, **fields: Any) -> UsagePriced:
    entry_id = uuid4()
    values: dict[str, Any] = {
        "entry_id": entry_id,
        "attempt_id": entry_id,
        "request_id": uuid4(),
        "occurred_at": NOON,
        "priced_at": NOON,
        "principal": Principal(org="acme", key="key"),
        "provider": "openai-eu",
        "model": "gpt-4o-2024-08-06",
        "cost_nano_usd": billed,
        "billed_nano": billed,
        "currency": "KRW",
        "price_version": "test",
        "tokens": 7,
        "usage_source": "reported",
    }
    return UsagePriced(**(values | fields))


def parts(one: UsagePriced, *budgets: Budget, **more: Any) -> list[Part]:
    tallies, _ = tally([one], {"acme": budgets}, more.get("leases", {}), more.get("open_", {}))
    return [part for each in tallies.values() for part in each.parts]


def test_what_was_held_loses_what_was_settled_and_counts_what_was_billed() -> None:
    (part,) = parts(entry(10, held=held(settled=14, uncertain=4)), budget())
    share = ShareKey(UUID(int=1), TODAY, "gw", 3)
    assert (part.amount, part.share, part.settled, part.uncertain) == (10, share, 14, 4)


def test_another_budget_than_those_that_held_the_call_is_posted_without_a_share() -> None:
    one, other = parts(entry(10, held=held(settled=10)), budget(), budget(2))
    assert (one.share is not None, other.share, other.amount) == (True, None, 10)


def test_the_window_that_held_a_call_counts_it_though_it_is_narrowed_to_another_model() -> None:
    (part,) = parts(entry(10, held=held(settled=10)), budget(narrowed_to=Narrowing(model="o1")))
    assert part.share is not None


def test_the_window_that_held_a_call_counts_it_though_it_began_before_the_budget_counts() -> None:
    (part,) = parts(entry(10, held=held(settled=10)), budget(counts_from=NOON + timedelta(hours=1)))
    assert part.share is not None


@pytest.mark.parametrize(("later", "counted"), [(0, 1), (1, 0)])
def test_what_began_before_a_budget_counts_is_not_for_it(later: int, counted: int) -> None:
    assert len(parts(entry(), budget(counts_from=NOON + timedelta(microseconds=later)))) == counted


@pytest.mark.parametrize(
    ("narrowed_to", "counted"),
    [
        (Narrowing(provider="openai"), 1),
        (Narrowing(provider="OPENAI-EU"), 1),
        (Narrowing(model="GPT-4o"), 1),
        (Narrowing(model="gpt-4o-2024-08-06"), 1),
        (Narrowing(model="o1"), 0),
        (Narrowing(provider="azure"), 0),
        (Narrowing(feature="search"), 0),
    ],
)
def test_a_call_counts_by_what_it_was_admitted_under(narrowed_to: Narrowing, counted: int) -> None:
    one = entry(held=held(settled=10, number=9), model="o1", provider="azure")
    assert len(parts(one, budget(narrowed_to=narrowed_to))) == counted


def test_a_foreign_currency_is_left_out_where_it_held_nothing() -> None:
    tallies, left = tally(
        [entry(currency="USD")], {"acme": (budget(), budget(2, measure="requests", currency=None))}, {}, {}
    )
    assert [each.budget.budget_id for each in left] == [UUID(int=1)]
    assert [key[0] for key in tallies] == [UUID(int=2)]


def test_a_foreign_currency_counts_as_settled_in_the_window_that_held_it() -> None:
    (part,) = parts(entry(9_999, currency="USD", held=held(settled=14, uncertain=4)), budget())
    assert (part.amount, part.settled) == (10, 14)


def test_a_budget_of_another_currency_that_does_not_count_the_call_is_not_shown_as_left_out() -> None:
    _, left = tally([entry(currency="USD")], {"acme": (budget(narrowed_to=Narrowing(model="o1")),)}, {}, {})
    assert left == []


def test_an_entry_of_the_version_before_posts_to_the_share_its_lease_became() -> None:
    use, share = LeaseUse(lease_id=uuid4(), reserve_nano=20, settled_nano=12), ShareKey(UUID(int=1), TODAY, "gw", 3)
    (part,) = parts(entry(10, lease=use), budget(), leases={use.lease_id: [share]})
    assert (part.share, part.amount, part.settled) == (share, 10, 12)


def test_a_correction_moves_no_share() -> None:
    (part,) = parts(entry(-3, kind="correction", held=held(settled=10)), budget())
    assert (part.share, part.amount, part.settled) == (None, -3, 0)


def test_a_correction_ends_what_is_uncertain_where_it_posts_nothing() -> None:
    attempt, yesterday = uuid4(), TODAY - timedelta(days=1)
    open_ = {(attempt, (UUID(int=1), yesterday)): 5}
    found = parts(entry(2, kind="correction", attempt_id=attempt), budget(), open_=open_)
    assert [(part.amount, part.settles) for part in found] == [(2, attempt), (0, attempt)]


def posted(parts: list[Part], shares: list[Share], open_: Any = None) -> Any:
    window = fresh_window(budget(), Calendar("day", "UTC").span(NOON))
    each = Tally(budget(), window.room.key, Calendar("day", "UTC").span(NOON), parts)
    return apply([each], {each.key: window}, {share.key: share for share in shares}, open_ or {})


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=6), st.randoms())
def test_a_batch_comes_to_the_same_in_every_order(amounts: list[tuple[int, int]], random: Any) -> None:
    share = ShareKey(UUID(int=1), TODAY, "gw", 3)
    parts_ = [Part(uuid4(), uuid4(), charge, share, charge + unsure, unsure) for charge, unsure in amounts]
    forth = posted(parts_, [Share(share, granted=50)])
    random.shuffle(parts_)
    back = posted(parts_, [Share(share, granted=50)])
    assert (forth.windows, forth.shares, forth.uncertain) == (back.windows, back.shares, back.uncertain)


def test_an_uncertain_amount_moves_from_the_share_to_the_window_and_is_ended_once() -> None:
    share, attempt = ShareKey(UUID(int=1), TODAY, "gw", 3), uuid4()
    charge = Part(attempt, attempt, 10, share, 14, 4)
    true = Part(uuid4(), attempt, 3, settles=attempt)
    outcome = posted([charge, true, true], [])
    (window,) = outcome.windows.values()
    assert (window.room.posted, window.room.uncertain, outcome.shares[0].posted) == (16, 0, 14)
