"""Sums as the API shows them."""

from datetime import UTC, datetime

from metering.span import Span
from metering.summary import GROUPS_MAX, Sums, groups, summary

SPAN = Span.covering(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
VND = Sums(None, "VND", 4, 3, 3, 1, 1_000, 500, 6_250_000, 151_043_750_000)
USD = Sums(None, "USD", 4, 4, 4, 0, 10, 5, 250_000, 250_000)


def test_amounts_of_different_currencies_stay_apart() -> None:
    assert summary(SPAN, [VND, USD], 0)["billed"] == {"USD": "0.00025", "VND": "151.04375"}


def test_counts_and_cost_add_up_over_currencies() -> None:
    shown = summary(SPAN, [VND, USD], 2)
    assert (shown["requests"], shown["tokens"], shown["cost_usd"]) == (7, 1_515, "0.0065")
    assert shown["unpriced_attempts"] == 2


def test_rates_are_percentages_of_attempts() -> None:
    shown = summary(SPAN, [VND, USD], 0)
    assert (shown["success_rate"], shown["cache_hit_rate"]) == ("87.50", "12.50")


def test_without_attempts_there_is_no_rate() -> None:
    shown = summary(SPAN, [], 0)
    assert (shown["requests"], shown["success_rate"], shown["cost_usd"], shown["billed"]) == (0, None, "0", {})


def test_groups_come_dearest_first_with_their_currencies_in_one() -> None:
    some = [USD._replace(group_key="cheap"), VND._replace(group_key="dear"), USD._replace(group_key="dear")]
    shown = groups("model", some)["groups"]
    assert [(group["model"], group["requests"]) for group in shown] == [("dear", 7), ("cheap", 4)]  # type: ignore[attr-defined]  # a list


def test_days_come_in_their_order() -> None:
    some = [VND._replace(group_key="2026-03-02"), USD._replace(group_key="2026-03-01")]
    assert [group["day"] for group in groups("day", some)["groups"]] == ["2026-03-01", "2026-03-02"]  # type: ignore[attr-defined]  # a list


def test_it_is_said_when_groups_are_left_out() -> None:
    many = [USD._replace(group_key=str(number)) for number in range(GROUPS_MAX + 1)]
    assert groups("user", many)["more_groups"]
    assert not groups("user", many[1:])["more_groups"]
