"""What an attempt is charged."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from farebox.events import BillingTerms, RequestCompleted, SuspenseReason
from farebox.money import convert
from farebox.pricing import Catalogue, PriceRow, Usage
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, Suspended, charge, charge_all
from support.attempts import KRW, USD, VND, attempt

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)


def row(**changes: Any) -> PriceRow:
    fields: dict[str, Any] = {
        "id": "p1",
        "provider": "local",
        "model": "phi",
        "effective_from": NOON,
        "rates": {"input": "3", "output": "15"},
        "source": "test",
    }
    return PriceRow(**{**fields, **changes})


def charged(event: RequestCompleted, *rows: PriceRow) -> Entry | Suspended:
    return charge(PriceBook(Catalogue(rows), len(rows)), Attempt(event, ""))


def entry(event: RequestCompleted, *rows: PriceRow) -> Entry:
    outcome = charged(event, *rows)
    assert isinstance(outcome, Entry)
    return outcome


def reason(event: RequestCompleted, *rows: PriceRow) -> SuspenseReason:
    outcome = charged(event, *rows)
    assert isinstance(outcome, Suspended)
    return outcome.reason


@pytest.mark.parametrize(
    ("billing", "billed_nano"),
    [(USD, 6_250_000), (VND, 151_043_750_000), (KRW, 8_125_000_000)],
)
def test_cost_is_billed_at_the_rate_stamped_on_the_attempt(billing: BillingTerms, billed_nano: int) -> None:
    got = entry(attempt(billing=billing))
    assert (got.cost_nano_usd, got.billed_nano) == (6_250_000, billed_nano)


def test_the_call_of_profile_match_daily_costs_7_80_won() -> None:
    event = attempt(
        provider="local",
        served_model="phi",
        started_at=NOON,
        usage=Usage(input=500, output=300),
        billing=KRW,
    )
    assert entry(event, row()).billed_nano == 7_800_000_000


def test_the_price_is_that_of_the_instant_the_attempt_started() -> None:
    cheaper = row(id="p2", effective_from=NOON + timedelta(hours=1), rates={"input": "1", "output": "1"})
    event = attempt(provider="local", served_model="phi", started_at=NOON + timedelta(minutes=59))
    later = event.model_copy(update={"started_at": NOON + timedelta(hours=1)})
    assert [entry(e, row(), cheaper).tariff.price_version for e in (event, later)] == ["p1", "p2"]


def test_the_served_model_is_priced_not_the_requested_one() -> None:
    event = attempt(requested_model="gpt-4o", served_model="gpt-4o-mini")
    assert entry(event).cost_nano_usd == 375_000


def test_price_provider_goes_before_provider() -> None:
    assert entry(attempt(provider="our-proxy", price_provider="openai")).cost_nano_usd == 6_250_000


def test_an_orgs_own_price_is_for_that_org_alone() -> None:
    own = row(provider="openai", model="gpt-4o", org="acme", effective_from=datetime(1970, 1, 1, tzinfo=UTC))
    other = attempt(principal=attempt().principal.model_copy(update={"org": "other"}))
    assert entry(attempt(), own).tariff.price_version == "p1"
    assert entry(other, own).tariff.price_version != "p1"


def test_an_unknown_model_waits_and_costs_nothing_yet() -> None:
    assert reason(attempt(served_model="gpt-99-secret")) is SuspenseReason.UNKNOWN_MODEL


def test_a_price_that_starts_later_does_not_cover_an_earlier_attempt() -> None:
    event = attempt(provider="local", served_model="phi", started_at=NOON - timedelta(seconds=1))
    assert reason(event, row()) is SuspenseReason.NO_PRICE_AT_TIME


def test_a_unit_without_a_rate_makes_the_call_wait() -> None:
    event = attempt(provider="local", served_model="phi", started_at=NOON)
    assert reason(event, row(rates={"input": "3"})) is SuspenseReason.NO_RATE_FOR_UNIT


def test_an_unknown_currency_makes_the_call_wait() -> None:
    assert reason(attempt(billing=USD.model_copy(update={"currency": "ZZZ"}))) is SuspenseReason.UNKNOWN_CURRENCY


def test_a_cost_that_no_entry_can_hold_makes_the_call_wait() -> None:
    absurd = USD.model_copy(update={"fx_rate": Decimal(10) ** 17})
    assert reason(attempt(billing=absurd)) is SuspenseReason.COST_OUT_OF_RANGE


def test_billed_is_rounded_once_half_even() -> None:
    terms = USD.model_copy(update={"fx_rate": Decimal("0.0000005")})
    got = entry(attempt(billing=terms, usage=Usage(output=100)))  # 1,000,000 nano-USD: half a nano
    assert got.billed_nano == convert(1_000_000, terms.fx_rate) == 0


def test_nothing_used_costs_nothing_and_is_still_an_entry() -> None:
    assert entry(attempt(usage=Usage(requests=0))).cost_nano_usd == 0


def test_a_batch_is_parted_into_priced_and_suspended() -> None:
    attempts = [Attempt(attempt(served_model=model), "") for model in ("gpt-4o", "gpt-99-secret", "gpt-4o-mini")]
    entries, suspended = charge_all(PriceBook(Catalogue(), 0), attempts)
    assert [one.attempt for one in entries] == [attempts[0], attempts[2]]
    assert [one.attempt for one in suspended] == [attempts[1]]


def test_equal_rates_are_one_tariff() -> None:
    assert entry(attempt()).tariff.id == entry(attempt(usage=Usage(output=1))).tariff.id
