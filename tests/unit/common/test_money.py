"""Amounts are read strictly, rounded once and shown as people write them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.money import (
    MAX_NANO,
    NANO,
    BadAmount,
    UnknownCurrency,
    UnknownLocale,
    convert,
    divide_half_even,
    format_amount,
    minor_digits,
    parse_amount,
    round_half_even,
)

amounts = st.integers(-MAX_NANO, MAX_NANO)
rates = st.decimals(min_value=Decimal("0.000001"), max_value=Decimal(100_000), places=6)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("29000", 29_000 * NANO),
        ("-0.05", -50_000_000),
        ("+1", NANO),
        ("0.000000001", 1),
        ("1E+3", 1_000 * NANO),
        ("1.50000000000", 1_500_000_000),
        ("9223372036.854775807", MAX_NANO),
    ],
)
def test_a_decimal_string_is_read_to_the_nano(text: str, nano: int) -> None:
    assert parse_amount(text, "USD") == nano


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", ".5", "5.", "1,5", "1_000", "١", "0x10", "NaN", "Infinity", "--1", 0.5, 5, None, Decimal(1)],
)
def test_anything_but_a_plain_decimal_string_is_refused(text: object) -> None:
    with pytest.raises(BadAmount, match="decimal string"):
        parse_amount(text, "USD")


@pytest.mark.parametrize("text", ["0.0000000001", "1e-10", "1.0000000005"])
def test_an_amount_finer_than_a_nano_is_refused(text: str) -> None:
    with pytest.raises(BadAmount, match="finer than a nano"):
        parse_amount(text, "USD")


@pytest.mark.parametrize("text", ["9223372036.854775808", "1e99", "-1e19"])
def test_an_amount_beyond_a_bigint_is_refused(text: str) -> None:
    with pytest.raises(BadAmount, match="more than one entry can hold"):
        parse_amount(text, "USD")


@pytest.mark.parametrize("code", ["usd", "US", "BTC", "", "U$D"])
def test_an_unlisted_currency_is_refused(code: str) -> None:
    with pytest.raises(UnknownCurrency):
        parse_amount("1", code)


@given(amounts)
def test_an_amount_written_with_nine_decimals_reads_back(nano: int) -> None:
    assert parse_amount(f"{Decimal(nano).scaleb(-9):f}", "USD") == nano


@pytest.mark.parametrize(
    ("amount", "nearest"),
    [("0.5", 0), ("1.5", 2), ("2.5", 2), ("-0.5", 0), ("-1.5", -2), ("2.500000000000000000000000000001", 3)],
)
def test_ties_go_to_the_even_neighbour(amount: str, nearest: int) -> None:
    assert round_half_even(Decimal(amount)) == nearest


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_rounding_is_that_of_exact_fractions(numerator: int, denominator: int) -> None:
    nearest = divide_half_even(numerator, denominator)
    assert 2 * abs(nearest * denominator - numerator) <= denominator


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_cannot_be_rounded(amount: str) -> None:
    with pytest.raises(ValueError, match="cannot be rounded"):
        round_half_even(Decimal(amount))


def test_a_cost_converts_at_the_stamped_rate() -> None:
    assert convert(6_000_000, Decimal(1300)) == 7_800_000_000
    assert convert(1, Decimal("0.5")) == 0
    assert convert(3, Decimal("0.5")) == 2


@given(st.integers(0, 9 * 10**13), rates)
def test_converting_is_off_by_half_a_nano_at_most(cost: int, rate: Decimal) -> None:
    numerator, denominator = rate.as_integer_ratio()
    assert 2 * abs(convert(cost, rate) * denominator - cost * numerator) <= denominator


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity"])
def test_a_rate_that_is_no_positive_number_is_refused(rate: str) -> None:
    with pytest.raises(BadAmount, match="not a positive number"):
        convert(1, Decimal(rate))


@pytest.mark.parametrize(
    ("nano", "currency", "locale", "shown"),
    [
        (29_000 * NANO, "VND", "vi", "29.000 VND"),
        (50_000 * NANO, "KRW", "ko", "50,000 KRW"),
        (10 * NANO, "USD", "en", "10.00 USD"),
        (1_234_567_890_000_000, "USD", "vi-VN", "1.234.567,89 USD"),
        (-5 * NANO, "USD", "en", "-5.00 USD"),
        (49_998_400_000_000, "KRW", "ko", "49,998 KRW"),
        (1_005_000_000, "USD", "en", "1.00 USD"),
    ],
)
def test_an_amount_is_grouped_as_its_reader_writes(nano: int, currency: str, locale: str, shown: str) -> None:
    assert format_amount(nano, currency, locale) == shown


@pytest.mark.parametrize(
    ("nano", "currency", "shown"),
    [
        (6_250_000, "USD", "0.00625 USD"),
        (187_500, "USD", "0.0001875 USD"),
        (7_800_000_000, "KRW", "7.8 KRW"),
        (3_020_875_000, "VND", "3.021 VND"),
        (1, "USD", "0.000000001 USD"),
        (0, "USD", "0.00 USD"),
        (0, "KRW", "0 KRW"),
    ],
)
def test_a_small_amount_keeps_four_significant_digits(nano: int, currency: str, shown: str) -> None:
    assert format_amount(nano, currency, "en") == shown


@given(amounts.filter(bool), st.sampled_from(["USD", "VND", "KWD"]))
def test_nothing_but_zero_is_shown_as_zero(nano: int, currency: str) -> None:
    assert any(digit in format_amount(nano, currency, "en") for digit in "123456789")


def test_minor_digits_are_the_currencys_own() -> None:
    assert [minor_digits(code) for code in ("USD", "EUR", "VND", "KRW", "JPY", "KWD")] == [2, 2, 0, 0, 0, 3]


@pytest.mark.parametrize("locale", ["", "xx-nowhere", "../etc"])
def test_an_unknown_locale_is_refused(locale: str) -> None:
    with pytest.raises(UnknownLocale):
        format_amount(NANO, "USD", locale)
