"""A reserve is never below the bill, and a call charged at the worst case is charged its reserve."""

from datetime import UTC, datetime

import pytest
from genai_prices.data import providers
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from farebox.pricing import (
    INPUT_BUCKETS,
    OUTPUT_BUCKETS,
    TEXT_BUCKETS,
    Charge,
    Exposure,
    PriceRow,
    Rates,
    Unpriced,
    Usage,
    UsageSource,
    price,
    worst_case,
    worst_case_usage,
)
from farebox.pricing.seed import SeedModel
from support.usages import counts, text_usages, usages

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODELS = [(provider, model) for provider in providers for model in provider.models]
TIERED = [(provider, model) for provider, model in MODELS if len(SeedModel(provider, model).rates_at(AT).standard) > 1]
VARIED = [(provider, model) for provider, model in MODELS if len(SeedModel(provider, model).rates_at(AT).modes) > 1]

seed_rates = st.one_of(*map(st.sampled_from, (MODELS, TIERED, VARIED))).map(
    lambda listed: SeedModel(*listed).rates_at(AT)
)
"""Rates of any model of the seed, those with long-context or service tiers more often."""


def row_rates(**fields: object) -> Rates:
    common = {"id": "row-1", "provider": "acme", "model": "one", "effective_from": AT, "source": "test"}
    return PriceRow.model_validate({**common, **fields}).compiled()


CHEAPER_WHEN_LONG = row_rates(
    rates={"input": "10", "output": "1"},
    context_tiers=[{"above": 1_000, "rates": {"input": "1", "output": "100"}}],
)


@given(seed_rates, usages, st.integers(0, 5_000), st.integers(1, 4), st.data())
def test_no_call_within_the_bounds_costs_more_than_its_reserve(
    rates: Rates, usage: Usage, slack: int, n: int, data: st.DataObject
) -> None:
    each = -(-usage.output_total // n) + data.draw(st.integers(0, 100))
    reserve = worst_case(rates, usage.input_total + slack, each, n)
    bill = price(rates, usage)
    if isinstance(bill, Charge):
        assert isinstance(reserve, int)
        assert bill.cost_nano_usd <= reserve


@given(seed_rates, text_usages)
@example(CHEAPER_WHEN_LONG, Usage(input=1_000, output=5))
@example(CHEAPER_WHEN_LONG, Usage(input=1_001, output=5_000))
def test_no_call_about_text_costs_more_than_a_reserve_for_text(rates: Rates, usage: Usage) -> None:
    reserve = worst_case(rates, usage.input_total, usage.output_total, exposure=Exposure(buckets=TEXT_BUCKETS))
    bill = price(rates, usage)
    assert isinstance(bill, Unpriced) or (isinstance(reserve, int) and bill.cost_nano_usd <= reserve)


@given(seed_rates, counts, counts, st.integers(1, 4))
def test_the_worst_usage_is_within_the_bounds_and_costs_exactly_the_reserve(
    rates: Rates, input_bound: int, output_bound: int, n: int
) -> None:
    usage = worst_case_usage(rates, input_bound, output_bound, n)
    assert usage.source is UsageSource.WORST_CASE
    assert usage.input_total <= input_bound
    assert usage.output_total <= n * output_bound
    charge = price(rates, usage)
    reserve = worst_case(rates, input_bound, output_bound, n)
    assert (charge.cost_nano_usd if isinstance(charge, Charge) else charge) == reserve


@given(seed_rates, counts, counts, counts, counts)
def test_a_wider_bound_never_reserves_less(rates: Rates, low: int, more: int, out: int, out_more: int) -> None:
    narrow, wide = worst_case(rates, low, out), worst_case(rates, low + more, out + out_more)
    assume(isinstance(narrow, int) and isinstance(wide, int))
    assert isinstance(narrow, int)
    assert isinstance(wide, int)
    assert narrow <= wide


def test_what_cannot_be_priced_cannot_be_reserved() -> None:
    embedding = row_rates(rates={"input": "0.02"})
    assert worst_case(embedding, 100, 0) == 2_000
    assert isinstance(worst_case(embedding, 100, 1), Unpriced)


def test_a_reserve_equals_the_bill_where_there_is_one_rate_a_side() -> None:
    plain = row_rates(rates={"input": "3", "output": "15"})
    assert worst_case(plain, 500, 300) == 6_000_000
    assert price(plain, Usage(input=500, output=300)) == Charge(6_000_000, "row-1")


def test_a_short_call_is_not_reserved_at_a_long_contexts_rates() -> None:
    assert worst_case(CHEAPER_WHEN_LONG, 1_000, 10) == 10_000_000 + 10_000
    assert worst_case(CHEAPER_WHEN_LONG, 1_001, 10) == 10_000_000 + 10_000
    assert worst_case(CHEAPER_WHEN_LONG, 1_001, 100_000) == 1_001_000 + 10_000_000_000


def test_a_service_tier_that_cannot_happen_is_not_reserved_for() -> None:
    rates = row_rates(
        rates={"input": "3", "output": "15"},
        service_tiers={"priority": {"rates": {"input": "6", "output": "30"}}},
    )
    assert worst_case(rates, 500, 300) == 12_000_000
    assert worst_case(rates, 500, 300, exposure=Exposure(service_tiers=frozenset())) == 6_000_000


def test_a_reserve_for_text_leaves_sound_and_cache_writes_to_those_who_send_them() -> None:
    rates = row_rates(rates={"input": "1", "cache_write_1h": "2", "audio_in": "40", "output": "10"})
    plain = Exposure(buckets=frozenset({"input", "cache_read", "output", "reasoning"}))
    reserves = [worst_case(rates, 1_000, 0, exposure=e) for e in (Exposure(), Exposure(TEXT_BUCKETS), plain)]
    assert reserves == [40_000_000, 2_000_000, 1_000_000]


def test_tool_calls_and_the_request_itself_are_reserved_for() -> None:
    rates = row_rates(per=1_000, rates={"input": "0", "output": "0", "request": "5", "tool:web_search": "10"})
    assert worst_case(rates, 1, 1, exposure=Exposure(tool_calls=(("web_search", 3),))) == 35_000_000
    assert isinstance(worst_case(rates, 1, 1, exposure=Exposure(tool_calls=(("shell", 1),))), Unpriced)


@pytest.mark.parametrize("bounds", [(-1, 0), (0, -1), (10**12 + 1, 0)])
def test_a_bound_that_no_call_has_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValidationError):
        worst_case(row_rates(rates={"input": "1", "output": "1"}), *bounds)


def test_the_sides_of_a_call_share_no_bucket() -> None:
    assert not set(INPUT_BUCKETS) & set(OUTPUT_BUCKETS)
