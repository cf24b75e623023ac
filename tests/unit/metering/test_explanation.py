"""Explanations add up."""

import json
from fractions import Fraction
from typing import Any
from uuid import UUID

from hypothesis import given

from farebox.events import Measured, value_of
from farebox.http import JSON
from farebox.ids import new_id
from farebox.money import NANO, divide_half_even
from farebox.pricing import Catalogue, Usage
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, charge
from metering.explanation import explanation
from support.attempts import HELD, LEASED, VND, attempt
from support.usages import text_usages

BOOK = PriceBook(Catalogue(), 0)


def charge_row(**changes: Any) -> dict[str, Any]:
    """A row of the ledger as the store reads it."""
    event = attempt(**changes)
    entry = charge(BOOK, Attempt(event, value_of(event).decode()))
    assert isinstance(entry, Entry)
    return {
        "entry_id": event.attempt_id,
        "attempt_id": event.attempt_id,
        "kind": "charge",
        "corrects": None,
        "debit_account": "org:acme",
        "credit_account": "provider:openai",
        "amount_nano": entry.billed_nano,
        "currency": event.billing.currency,
        "cost_nano_usd": entry.cost_nano_usd,
        "fx_rate": event.billing.fx_rate,
        "fx_source": event.billing.fx_source,
        "fx_date": event.billing.fx_date,
        "price_version": entry.tariff.price_version,
        "priced_at": event.completed_at,
        "attempt": entry.attempt.received,
        "rates": entry.tariff.json,
    }


def explained(*entries: dict[str, Any], waiting: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(bytes(JSON(explanation(UUID(int=7), entries, waiting)).body))
    return answer


@given(text_usages)
def test_the_lines_rounded_once_are_the_cost(usage: Usage) -> None:
    row = charge_row(usage=usage)
    [one] = explained(row)["attempts"]
    exact = sum((Fraction(line["amount_usd"]) for line in one["charge"]["lines"]), Fraction()) * NANO
    assert divide_half_even(exact.numerator, exact.denominator) == row["cost_nano_usd"]


def test_a_charge_shows_buckets_rates_exchange_and_version() -> None:
    [one] = explained(charge_row(billing=VND))["attempts"]
    assert one["charge"]["lines"] == [
        {"unit": "input", "count": 500, "rate_usd": "2.5", "per": 1_000_000, "amount_usd": "0.00125"},
        {"unit": "output", "count": 500, "rate_usd": "10", "per": 1_000_000, "amount_usd": "0.005"},
    ]
    assert (one["charge"]["cost_usd"], one["charge"]["billed"], one["charge"]["currency"]) == (
        "0.00625",
        "151.04375",
        "VND",
    )
    assert one["charge"]["fx"] == {"rate": "24167", "source": "org", "date": "2026-01-01"}


def test_a_correction_is_shown_beside_its_charge_and_in_the_sum() -> None:
    row = charge_row()
    refund = {**row, "entry_id": new_id(), "kind": "correction", "corrects": row["entry_id"]}
    refund |= {"amount_nano": -2_000_000, "cost_nano_usd": -1_000_000}
    shown = explained(row, refund)
    assert (shown["cost_usd"], shown["billed"]) == ("0.00525", {"USD": "0.00425"})
    assert [entry["amount"] for entry in shown["attempts"][0]["entries"]] == ["0.00625", "-0.002"]


def test_an_attempt_in_suspense_says_why() -> None:
    event = attempt(served_model="gpt-99")
    waiting = {
        "reason": "unknown_model",
        "detail": "openai/gpt-99 is not in the catalogue",
        "suspended_at": event.completed_at,
        "attempt": value_of(event).decode(),
    }
    [one] = explained(waiting=(waiting,))["attempts"]
    assert (one["state"], one["charge"], one["suspense"]["reason"]) == ("suspended", None, "unknown_model")


def test_attempts_come_in_the_order_in_which_they_started() -> None:
    rows = [charge_row(attempt=number) for number in (1, 2)]
    assert [one["attempt"] for one in explained(*reversed(rows))["attempts"]] == [1, 2]


def test_what_an_attempt_held_and_what_of_it_is_uncertain_is_told_in_the_bills_currency() -> None:
    held = HELD.model_copy(update={"uncertain": Measured(money=1_500_000_000, tokens=7)})
    [one] = explained(charge_row(held=held))["attempts"]
    assert one["held"]["windows"] == [{"budget_id": str(UUID(int=5)), "start": "2026-03-01T00:00:00Z"}]
    assert one["held"]["settled"] == {"money": "0.00625", "requests": 1, "tokens": 1_000}
    assert one["held"]["uncertain"] == {"money": "1.5", "requests": 0, "tokens": 7}
    assert one["lease"] is None


def test_what_an_attempt_of_the_version_before_held_is_told_as_its_lease() -> None:
    [one] = explained(charge_row(held=None, lease=LEASED))["attempts"]
    assert (one["lease"]["reserve"], one["held"]) == ("0.01", None)


def test_a_charge_from_before_tiers_without_a_price_were_unpriced_is_explained_at_the_standard_rates() -> None:
    row = charge_row()
    stated = attempt(usage=Usage(input=500, output=500, service_tier="no-such-tier"))
    [one] = explained({**row, "attempt": value_of(stated).decode()})["attempts"]
    assert [line["rate_usd"] for line in one["charge"]["lines"]] == ["2.5", "10"]
