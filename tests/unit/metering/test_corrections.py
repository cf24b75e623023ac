"""What a correction writes is the difference between what the books say and what is true."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.errors import Invalid
from farebox.events import Measured, RequestCompleted, value_of
from farebox.ids import new_id
from farebox.money import convert, decimal_text
from farebox.pricing import Catalogue, Usage
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, charge
from metering.corrections.rules import Booked, Correction, TrueAmount, TrueUsage, Truth, canonical, correct, event_of
from support.attempts import HELD, KRW, USD, VND, attempt
from support.usages import text_usages

BOOK = PriceBook(Catalogue(), 0)
NOTHING = Usage(requests=1)


def received(event: RequestCompleted) -> Attempt:
    return Attempt(event, value_of(event).decode())


def charged(**changes: Any) -> Booked:
    """An attempt as its charge left it in the books."""
    entry = charge(BOOK, received(attempt(**changes)))
    assert isinstance(entry, Entry)
    return Booked(entry.attempt, entry.attempt.event.attempt_id, entry.cost_nano_usd, entry.billed_nano)


def then(booked: Booked, correction: Correction) -> Booked:
    """The books once the correction is written."""
    cost, billed = booked.cost_nano_usd + correction.cost_nano_usd, booked.billed_nano + correction.billed_nano
    return Booked(correction.attempt, new_id(), cost, billed)


def counted(usage: Usage) -> TrueUsage:
    return TrueUsage(usage.model_dump(mode="json", exclude_defaults=True))


@given(text_usages, text_usages)
def test_after_a_correction_of_the_usage_the_books_say_what_the_true_usage_costs(before: Usage, true: Usage) -> None:
    booked = charged(usage=before, billing=KRW)
    correction = correct(booked, counted(true.model_copy(update={"service_tier": before.service_tier})), BOOK)
    wanted = charged(usage=true.model_copy(update={"service_tier": before.service_tier}), billing=KRW)
    after = then(booked, correction)
    assert (after.cost_nano_usd, after.billed_nano) == (wanted.cost_nano_usd, wanted.billed_nano)
    assert correction.input_tokens + correction.output_tokens == true.total - before.total
    assert after.attempt.event.usage.total == true.total


@given(st.integers(0, 10**12), st.sampled_from([VND, KRW, USD]))
def test_after_a_correction_of_the_amount_exactly_that_is_billed(nano: int, billing: Any) -> None:
    booked = charged(billing=billing)
    after = then(booked, correct(booked, TrueAmount(decimal_text(nano), billing.currency), BOOK))
    assert after.billed_nano == nano
    assert abs(after.cost_nano_usd * billing.fx_rate - nano) <= billing.fx_rate


def test_an_amount_in_dollars_is_billed_at_the_rate_of_the_call() -> None:
    booked = charged(billing=VND)
    after = then(booked, correct(booked, TrueAmount("0.01", "USD"), BOOK))
    assert (after.cost_nano_usd, after.billed_nano) == (10_000_000, convert(10_000_000, VND.fx_rate))


def test_a_correction_of_a_correction_goes_by_what_is_known_since() -> None:
    booked = charged()
    once = then(booked, correct(booked, counted(Usage(input=100)), BOOK))
    twice = correct(once, TrueAmount("0", "USD"), BOOK)
    assert twice.corrects == once.last_entry_id
    assert then(once, twice)._replace(last_entry_id=booked.last_entry_id).billed_nano == 0
    assert twice.attempt.event.usage.input == 100


def test_what_is_left_out_of_a_usage_was_not_used_and_how_the_call_was_served_stays() -> None:
    booked = charged(usage=Usage(input=500, output=500, requests=0, service_tier="priority"))
    usage = correct(booked, TrueUsage({"output": 7}), BOOK).attempt.event.usage
    assert usage == Usage(output=7, requests=0, service_tier="priority")


def test_a_usage_that_is_stated_is_one_that_was_reported() -> None:
    booked = charged(usage=Usage.model_validate({"input": 5, "source": "estimated"}))
    told = event_of(correct(booked, TrueUsage({"input": 5}), BOOK), new_id(), booked.attempt.event.started_at)
    assert (told.usage_source, told.billed_nano, told.tokens) == ("reported", 0, 0)


def test_what_is_told_posts_where_the_charge_did_and_takes_nothing_from_a_share() -> None:
    held = HELD.model_copy(update={"uncertain": Measured(money=9)})
    booked = charged(held=held)
    told = event_of(correct(booked, TrueAmount("0", "USD"), BOOK), new_id(), booked.attempt.event.started_at)
    assert told.held is not None
    assert (told.held.windows, told.held.attributes) == (held.windows, held.attributes)
    assert (told.held.settled, told.held.uncertain) == (Measured(), Measured())
    assert (told.kind, told.corrects, told.billed_nano) == ("correction", booked.last_entry_id, -6_250_000)


@pytest.mark.parametrize(
    ("truth", "field"),
    [
        (TrueUsage({"input": -1}), "usage.input"),
        (TrueUsage({"inputs": 1}), "usage.inputs"),
        (TrueUsage({"input": 1.5}), "usage.input"),
        (TrueUsage({"input": 10**24}), "usage.input"),
        (TrueUsage({"tool_calls": {"a\0b": 1}}), "usage"),
        (TrueUsage({"tool_calls": {"teleport": 1}}), "usage"),
        (TrueUsage({"input": 10**12}), "usage"),
        (TrueAmount("-1", "KRW"), "amount"),
        (TrueAmount("1.0000000001", "KRW"), "amount"),
        (TrueAmount("10000000000", "KRW"), "amount"),
        (TrueAmount("1000000000", "USD"), "amount"),
        (TrueAmount("100000.000000001", "USD"), "amount"),
        (TrueAmount("1" * 30, "USD"), "amount"),
        (TrueAmount("9000000000", "KRW"), "amount"),
        (TrueAmount("1", "VND"), "currency"),
        (TrueAmount("1", "won"), "currency"),
    ],
)
def test_what_cannot_be_true_is_refused_by_its_field(truth: Truth, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        correct(charged(billing=KRW), truth, BOOK)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [field]


def test_an_attempt_in_a_currency_that_nobody_knows_is_refused() -> None:
    billing = KRW.model_copy(update={"currency": "ABC"})
    booked = Booked(received(attempt(billing=billing)), new_id(), 0, 0)
    with pytest.raises(Invalid, match="attempt_id"):
        correct(booked, TrueAmount("1", "USD"), BOOK)


@pytest.mark.parametrize("text", ["1", "1.0", "1E+0", "+1.000"])
def test_the_same_amount_is_the_same_statement(text: str) -> None:
    assert json.loads(canonical(TrueAmount(text, "KRW"))) == {"amount": "1", "currency": "KRW"}


def test_the_same_usage_in_another_order_is_the_same_statement() -> None:
    assert canonical(TrueUsage({"input": 1, "output": 2})) == canonical(TrueUsage({"output": 2, "input": 1}))
