"""A raise is what makes any call dearer for anybody than it is without it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from farebox.pricing import Catalogue, PriceRow
from metering.lead import raised_at

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=15)
FULL: dict[str, Any] = {
    "rates": {"input": "2", "cache_read": "1", "output": "8", "request": "0.01", "tool:search": "5"},
    "context_tiers": [{"above": 200_000, "rates": {"input": "4"}}],
    "service_tiers": {"batch": {"rates": {"input": "1", "output": "4"}}},
}


def row(id_: str, at: datetime = NOW, **changes: Any) -> PriceRow:
    fields = {"id": id_, "provider": "here", "model": "m", "effective_from": at, "source": "test", **FULL}
    return PriceRow.model_validate(fields | changes)


def with_rate(unit: str, usd: str) -> dict[str, Any]:
    return {"rates": FULL["rates"] | {unit: usd}}


OLD = row("old", NOW - timedelta(days=9))


def raised(new: PriceRow, *old: PriceRow) -> datetime | None:
    return raised_at(Catalogue(old or (OLD,)), new, UNTIL)


def test_the_same_price_is_no_raise() -> None:
    assert raised(row("new")) is None


@pytest.mark.parametrize("unit", ["input", "cache_read", "output", "request", "tool:search"])
def test_one_unit_that_costs_more_is_a_raise(unit: str) -> None:
    assert raised(row("new", **with_rate(unit, "9"))) == NOW


def test_a_bucket_left_out_costs_what_its_parent_costs() -> None:
    assert raised(row("new", rates={"input": "2", "output": "8"}, context_tiers=[])) == NOW


def test_a_long_context_that_costs_more_is_a_raise() -> None:
    assert raised(row("new", context_tiers=[{"above": 200_000, "rates": {"input": "5"}}])) == NOW
    assert raised(row("new", context_tiers=[{"above": 100_000, "rates": {"input": "4"}}])) == NOW


def test_a_service_tier_that_costs_more_is_a_raise() -> None:
    assert raised(row("new", service_tiers={**FULL["service_tiers"], "priority": {"rates": {"output": "16"}}})) == NOW


def test_a_service_tier_that_is_no_longer_listed_has_no_price_and_so_is_no_raise() -> None:
    assert raised(row("new", service_tiers={})) is None


@pytest.mark.parametrize("field", ["speeds", "geographies"])
def test_a_speed_or_geography_that_costs_more_is_a_raise(field: str) -> None:
    def times(id_: str, at: datetime = NOW, **names: str) -> PriceRow:
        return row(id_, at, **{field: names})

    usual = times("usual", NOW - timedelta(days=9), x="1.1")
    assert raised(times("new", x="1.1"), usual) is None
    assert raised(times("new", x="1.2"), usual) == NOW
    assert raised(times("new", x="1.1", y="1.05"), usual) == NOW, "dearer than the standard one"
    assert raised(times("new", x="1.1", y="0.9"), usual) is None


def test_what_costs_less_is_none() -> None:
    assert raised(row("new", rates={**FULL["rates"], "input": "1", "output": "1"})) is None


def test_a_first_price_is_none() -> None:
    assert raised(row("new", model="other")) is None


def test_a_seed_price_counts_as_a_price() -> None:
    dear = row("new", provider="openai", model="gpt-4o", rates={"input": "99", "output": "99"}, context_tiers=[])
    assert raised(dear) == NOW


def test_a_price_is_compared_with_what_is_in_force_when_it_takes_effect() -> None:
    later = row("later", NOW + timedelta(minutes=5), **with_rate("input", "9"))
    assert raised(row("new", **with_rate("input", "9")), OLD, later) == NOW
    assert raised(row("new", NOW + timedelta(minutes=5), id="z", **with_rate("input", "9")), OLD, later) is None


def test_a_price_that_is_cheaper_first_and_dearer_once_a_discount_begins_is_a_raise_from_then() -> None:
    discount = row("discount", NOW + timedelta(minutes=5), rates={**FULL["rates"], "input": "1"})
    again = row("new", NOW + timedelta(minutes=6), id="z")
    assert raised(again, OLD, discount) == NOW + timedelta(minutes=6)
    assert raised(row("new"), OLD, discount) is None, "the discount starts later, and so it applies"


def test_a_raise_after_the_lead_time_is_nobodys_surprise() -> None:
    assert raised(row("new", UNTIL, **with_rate("input", "9"))) is None


def test_a_price_for_all_that_takes_the_place_of_an_orgs_own_is_a_raise_for_that_org() -> None:
    plain: dict[str, Any] = {"provider": "openai", "context_tiers": [], "service_tiers": {}}
    own = row("own", NOW - timedelta(days=1), org="acme", model="gpt-4o", rates={"input": "0.1"}, **plain)
    assert raised(row("new", model="gpt-4o-2024-08-06", rates={"input": "0.2"}, **plain), own) == NOW


def test_an_orgs_own_price_is_compared_with_what_that_org_pays() -> None:
    own = row("own", NOW - timedelta(days=1), org="acme", **with_rate("input", "9"))
    assert raised(row("new", org="acme", **with_rate("input", "8")), OLD, own) is None
    assert raised(row("new", org="other", **with_rate("input", "8")), OLD, own) == NOW


SEEDED: dict[str, Any] = {"provider": "openai", "context_tiers": [], "service_tiers": {}}


def test_a_pattern_is_compared_with_every_listed_model_that_it_covers() -> None:
    assert raised(row("new", model="gpt-4*", rates={"input": "3", "output": "3"}, **SEEDED)) == NOW
    assert raised(row("new", model="gpt-4*", rates={"input": "0", "output": "0"}, **SEEDED)) is None


def test_a_pattern_is_compared_with_patterns_that_it_meets() -> None:
    wide = row("wide", NOW - timedelta(days=1), model="my-*")
    assert raised(row("new", model="*-ft", **with_rate("input", "9")), wide) == NOW
    assert raised(row("new", model="your-*", **with_rate("input", "9")), wide) is None


def test_a_row_for_a_name_is_compared_with_the_pattern_that_priced_its_dated_names() -> None:
    dated = row("dated", NOW - timedelta(days=1), model="m-2*")
    assert raised(row("new", **with_rate("input", "9")), dated) == NOW


def test_the_end_of_a_row_is_a_raise_where_what_follows_is_dearer() -> None:
    cheap = row("cheap", NOW - timedelta(days=1), rates={**FULL["rates"], "input": "1"})
    ending = cheap.model_copy(update={"effective_to": NOW})
    assert raised(ending, OLD, cheap) == NOW
    assert raised(ending, cheap) is None, "nothing follows"
