"""A price row that makes no sense is refused with everything that is wrong with it."""

from typing import Any

import pytest
from pydantic import ValidationError

from farebox.pricing import Charge, PriceRow, Unpriced, Usage, price

GOOD: dict[str, Any] = {
    "id": "row-1",
    "provider": "acme",
    "model": "one",
    "effective_from": "2026-01-01T00:00:00Z",
    "rates": {"input": "3", "output": "15"},
    "source": "price list of January",
}


def cost(row: PriceRow, usage: Usage) -> int:
    charge = price(row.compiled(), usage)
    assert isinstance(charge, Charge), charge
    return charge.cost_nano_usd


def test_a_row_reads_back_from_its_json() -> None:
    row = PriceRow.model_validate({**GOOD, "rates": {"input": "0.000000000000000001", "output": "0"}})
    assert PriceRow.model_validate_json(row.model_dump_json()) == row


def test_a_price_a_thousand_is_a_thousandth_of_the_price_a_million() -> None:
    thousand = PriceRow.model_validate({**GOOD, "per": 1_000, "rates": {"input": "0.003", "output": "0.015"}})
    usage = Usage(input=500, output=300)
    assert cost(thousand, usage) == cost(PriceRow.model_validate(GOOD), usage) == 6_000_000


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rates": {"input": "-1"}}, "greater than or equal to 0"),
        ({"rates": {"input": 0.5}}, "decimal string"),
        ({"rates": {"input": 3}}, "decimal string"),
        ({"rates": {"input": "NaN"}}, "finite"),
        ({"rates": {"input": "1e-19"}}, "decimal places"),
        ({"rates": {}}, "at least 1"),
        ({"rates": {"tokens": "1"}}, "'tokens' is no unit"),
        ({"rates": {"tool:": "1"}}, "'tool:' is no unit"),
        ({"rates": {"cache_read": "1"}}, "cache_read needs a rate for input"),
        ({"rates": {"input": "100001"}}, "absurd"),
        ({"per": 1_000, "rates": {"input": "101"}}, "absurd"),
        ({"per": 100}, "1000 or 1000000"),
        ({"effective_from": "2026-01-01T00:00:00"}, "timezone"),
        ({"effective_to": "2026-01-01T00:00:00Z"}, "later than effective_from"),
        ({"currency": "USD"}, "Extra inputs"),
        ({"model": ""}, "at least 1 character"),
        ({"context_tiers": [{"above": 9, "rates": {"cache_read": "1"}}]}, "not among the rates it replaces"),
        ({"context_tiers": [{"above": 9, "rates": {}}, {"above": 9, "rates": {}}]}, "ascend"),
        ({"service_tiers": {"flex": {"rates": {"request": "1"}}}}, "flex: request is not among"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PriceRow.model_validate(GOOD | change)


def test_every_problem_of_a_row_is_listed() -> None:
    bad = {"effective_to": "2025-01-01T00:00:00Z", "rates": {"foo": "2", "cache_read": "1"}, "source": ""}
    with pytest.raises(ValueError, match="no unit") as refused:
        PriceRow.model_validate(GOOD | bad)
    for problem in ("later than", "'foo' is no unit", "cache_read needs a rate", "source"):
        assert problem in str(refused.value)


def test_a_service_tier_prices_the_units_it_names_and_no_others() -> None:
    flex = {"rates": {"output": "7"}, "context_tiers": [{"above": 10, "rates": {"output": "9"}}]}
    row = PriceRow.model_validate(
        GOOD
        | {"service_tiers": {"flex": flex}, "context_tiers": [{"above": 20, "rates": {"input": "4", "output": "20"}}]}
    )
    costs = [cost(row, Usage(input=count, output=1, service_tier="flex")) for count in (10, 11, 21)]
    assert costs == [10 * 3_000 + 7_000, 11 * 3_000 + 9_000, 21 * 4_000 + 9_000]
    assert cost(row, Usage(input=21, output=1, service_tier="default")) == 21 * 4_000 + 20_000


FAST = {**GOOD, "speeds": {"fast": "6"}, "geographies": {"us": "1.1"}}


@pytest.mark.parametrize(
    ("stated", "times"),
    [({}, 10), ({"speed": "fast"}, 60), ({"geography": "us"}, 11), ({"speed": "fast", "geography": "us"}, 66)],
)
def test_speed_and_geography_multiply_the_token_rates_and_each_other(stated: dict[str, str], times: int) -> None:
    usage = Usage.model_validate({"input": 1_000, "output": 1_000, **stated})
    assert cost(PriceRow.model_validate(FAST), usage) == times * 1_800_000


def test_they_multiply_the_rates_of_caches_and_long_contexts_too_and_not_those_of_calls() -> None:
    rates = {"input": "3", "cache_read": "0.3", "output": "15", "request": "1000", "tool:web_search": "10000"}
    long = [{"above": 10, "rates": {"input": "6", "cache_read": "0.6"}}]
    row = PriceRow.model_validate({**FAST, "rates": rates, "context_tiers": long})
    usage = Usage(input=10, cache_read=10, tool_calls={"web_search": 1}, speed="fast")
    assert cost(row, usage) == 6 * (10 * 6_000 + 10 * 600) + 1_000_000 + 10_000_000


def test_a_geography_multiplies_service_tiers_too_and_a_speed_has_none() -> None:
    row = PriceRow.model_validate({**FAST, "service_tiers": {"batch": {"rates": {"input": "1.5"}}}})
    assert cost(row, Usage(input=1_000, service_tier="batch", geography="us")) == 1_650_000
    assert isinstance(price(row.compiled(), Usage(input=1, service_tier="batch", speed="fast")), Unpriced)


@pytest.mark.parametrize("by", ["0", "-1", "101", "1.0000001", 1.1])
def test_a_multiplier_that_makes_no_sense_is_refused(by: Any) -> None:
    with pytest.raises(ValidationError):
        PriceRow.model_validate({**GOOD, "speeds": {"fast": by}})
