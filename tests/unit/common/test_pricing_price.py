"""A price is the sum of its lines, rounded once, and never zero for want of a rate."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.events import SuspenseReason
from farebox.money import round_half_even
from farebox.pricing import (
    BUCKETS,
    Bucket,
    Charge,
    PriceRow,
    Rates,
    Unpriced,
    UnpricedReason,
    Usage,
    explain,
    price,
)
from support.usages import counts, usages


def rates(per: Literal[1_000, 1_000_000] = 1_000_000, **units: str) -> Rates:
    return PriceRow(
        id="row-1",
        provider="acme",
        model="one",
        effective_from=datetime(2026, 1, 1, tzinfo=UTC),
        per=per,
        rates={unit.replace("__", ":"): Decimal(usd) for unit, usd in units.items()},
        source="test",
    ).compiled()


FULL = rates(
    input="3",
    cache_read="0.3",
    cache_write_5m="3.75",
    cache_write_1h="6",
    output="15",
    reasoning="15.5",
    audio_in="40",
    audio_out="80.123456789012345678",
    image_in="5",
    image_out="30",
)


def cost(charge: Charge | Unpriced) -> int:
    assert isinstance(charge, Charge), charge
    return charge.cost_nano_usd


def test_a_charge_names_the_rates_that_priced_it() -> None:
    assert price(FULL, Usage(input=1_000, output=1_000)) == Charge(18_000_000, "row-1")


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (Usage(cache_read=100), 300_000),
        (Usage(cache_write_1h=100), 300_000),
        (Usage(image_in=100), 300_000),
        (Usage(reasoning=100), 1_500_000),
    ],
)
def test_a_bucket_without_a_rate_of_its_own_is_priced_as_its_side(used: Usage, expected: int) -> None:
    assert cost(price(rates(input="3", output="15"), used)) == expected


@pytest.mark.parametrize(
    "used", [Usage(output=1), Usage(input=5, reasoning=1), Usage(audio_in=1), Usage(tool_calls={"web_search": 1})]
)
def test_a_used_unit_without_a_rate_makes_the_call_unpriced(used: Usage) -> None:
    charge = price(rates(input="0.02"), used)
    assert isinstance(charge, Unpriced)
    assert charge.reason is UnpricedReason.NO_RATE_FOR_UNIT
    assert "acme/one has no rate for" in charge.detail


def test_a_unit_that_was_not_used_needs_no_rate() -> None:
    assert cost(price(rates(input="0.02"), Usage(input=1_000_000, tool_calls={"web_search": 0}))) == 20_000_000


def test_a_rate_of_zero_is_a_price() -> None:
    assert cost(price(rates(input="0", output="0"), Usage(input=1, output=1))) == 0


def test_requests_and_tool_calls_are_priced_apart_from_tokens() -> None:
    per_call = rates(1_000, input="0", output="0", request="5", tool__web_search="10")
    usage = Usage(input=9, requests=2, tool_calls={"web_search": 3})
    assert cost(price(per_call, usage)) == 2 * 5_000_000 + 3 * 10_000_000


def test_requests_cost_nothing_where_no_price_is_listed_for_them() -> None:
    assert cost(price(rates(input="1"), Usage(requests=1_000))) == 0


def test_a_cost_that_no_call_has_is_unpriced() -> None:
    charge = price(FULL, Usage(output=10**12))
    assert isinstance(charge, Unpriced)
    assert charge.reason is UnpricedReason.COST_OUT_OF_RANGE


def test_an_entry_is_rounded_once_and_half_even() -> None:
    halves = rates(input="0.0005", output="0.0005")
    assert [cost(price(halves, Usage(input=count))) for count in (1, 2, 3, 5)] == [0, 1, 2, 2]
    assert cost(price(halves, Usage(input=1, output=1))) == 1


@given(usages)
def test_the_lines_of_a_charge_sum_to_its_cost(usage: Usage) -> None:
    lines = explain(FULL, usage)
    assert {line.unit for line in lines} == {bucket for bucket in BUCKETS if getattr(usage, bucket)}
    assert cost(price(FULL, usage)) == round_half_even(
        sum((line.amount_nano_usd or Decimal(0) for line in lines), Decimal(0))
    )


def test_a_line_shows_the_rate_as_it_is_listed() -> None:
    (line,) = explain(FULL, Usage(audio_out=1_000))
    assert (line.unit, line.count, line.per) == ("audio_out", 1_000, 1_000_000)
    assert str(line.rate_usd) == "80.123456789012345678"
    assert str(line.amount_nano_usd) == "80123456.789012345678"


def test_a_line_without_a_rate_says_so() -> None:
    (line,) = explain(rates(input="1"), Usage(output=5))
    assert (line.rate_usd, line.amount_nano_usd) == (None, None)


@given(usages, st.sampled_from(BUCKETS), counts)
def test_more_of_anything_never_costs_less(usage: Usage, bucket: Bucket, more: int) -> None:
    grown = usage.model_copy(update={bucket: getattr(usage, bucket) + more})
    assert cost(price(FULL, grown)) >= cost(price(FULL, usage))


@given(st.lists(usages, min_size=1, max_size=8))
def test_pricing_apart_differs_from_pricing_together_by_half_a_nano_a_call(parts: list[Usage]) -> None:
    whole = Usage.model_validate({bucket: sum(getattr(part, bucket) for part in parts) for bucket in BUCKETS})
    apart = sum(cost(price(FULL, part)) for part in parts)
    assert 2 * abs(apart - cost(price(FULL, whole))) <= len(parts) + 1


def test_whatever_cannot_be_priced_has_a_reason_to_wait_in_suspense() -> None:
    assert {str(reason) for reason in UnpricedReason} <= {str(reason) for reason in SuspenseReason}
