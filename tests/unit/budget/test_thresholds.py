"""A threshold is reached from its very amount on."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from budget.alerts.rules import reached, thresholds
from farebox.events import ThresholdMark


def percent(value: str) -> ThresholdMark:
    return ThresholdMark(severity="warning", percent=Decimal(value))


def test_a_threshold_is_inclusive() -> None:
    (mark,) = thresholds([percent("75")], 29_000)
    assert reached([mark], 21_749) == ()
    assert reached([mark], 21_750) == (mark,)


def test_thresholds_are_met_in_the_order_of_their_amounts() -> None:
    fixed = ThresholdMark(severity="info", amount=800)
    assert [mark.at for mark in thresholds([percent("95"), fixed, percent("75")], 1000)] == [750, 800, 950]


def test_nothing_spent_reaches_nothing_even_under_a_limit_of_zero() -> None:
    assert reached(thresholds([percent("50")], 0), 0) == ()


@given(st.integers(1, 10**30), st.decimals("0.0001", "1000", places=4))
def test_a_share_of_the_limit_is_never_rounded_below_itself(limit: int, share: Decimal) -> None:
    (mark,) = thresholds([ThresholdMark(severity="x", percent=share)], limit)
    exact = limit * int(share * 10_000)
    assert (mark.at - 1) * 1_000_000 < exact <= mark.at * 1_000_000
