"""Money is an integer of nano-units (10⁻⁹) of a named currency; names say so (`billed_nano`, `cost_nano_usd`).

`Decimal` appears only while a rate is multiplied in and while an amount is read or shown. No float ever does.
"""

import re
from decimal import Decimal
from functools import cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.numbers import format_decimal, get_currency_precision

from farebox.errors import Invalid

NANO: Final = 10**9
"""Nano-units in one unit of any currency."""

MAX_NANO: Final = 2**63 - 1
"""The largest amount of one entry: a PostgreSQL bigint."""

_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,19}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_NANO_DIGITS: Final = 9
_SIGNIFICANT_DIGITS: Final = 4


class BadAmount(Invalid):
    """Text that is no amount of money, or an amount that no entry can hold."""

    code = "bad_amount"


class UnknownCurrency(Invalid):
    """A code that ISO 4217 does not list."""

    code = "unknown_currency"


class UnknownLocale(Invalid):
    """A language that CLDR does not list."""

    code = "unknown_locale"


def require_currency(code: str) -> str:
    """The code itself, if it is an upper-case ISO 4217 code (as listed by CLDR). Raises UnknownCurrency."""
    if code not in get_global("all_currencies"):
        raise UnknownCurrency(f"currency {code!r} is not an ISO 4217 code")
    return code


def minor_digits(currency: str) -> int:
    """Decimals in which people write this currency: 2 for USD, 0 for VND and KRW. Raises UnknownCurrency."""
    return get_currency_precision(require_currency(currency))


def parse_amount(text: object, currency: str) -> int:
    """Nano-units of a decimal string such as `"29000"`, `"-0.05"` or `"1E+3"`.

    Raises BadAmount for anything but a plain ASCII decimal string (a float is refused by type), for a value
    finer than a nano-unit and for one beyond a bigint; UnknownCurrency for an unlisted code.
    """
    require_currency(currency)
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise BadAmount(f"{text!r} is not a decimal string")
    numerator, denominator = Decimal(text).as_integer_ratio()
    nano, rest = divmod(numerator * NANO, denominator)
    if rest:
        raise BadAmount(f"{text} {currency} is finer than a nano-unit (9 decimals)")
    return _bounded(nano, text)


def decimal_text(nano: int) -> str:
    """Nano-units as an exact decimal string, such as `"29000"` or `"0.00625"`: how amounts travel in JSON."""
    whole, rest = divmod(abs(nano), NANO)
    text = f"{whole}.{rest:09d}".rstrip("0") if rest else str(whole)
    return f"-{text}" if nano < 0 else text


def divide_half_even(numerator: int, denominator: int) -> int:
    """The rounding rule of every entry: `numerator / denominator`, ties to the even neighbour. Denominator > 0."""
    quotient, rest = divmod(numerator, denominator)
    doubled = 2 * rest
    if doubled > denominator or (doubled == denominator and quotient & 1):
        return quotient + 1
    return quotient


def round_half_even(amount: Decimal) -> int:
    """The nearest integer, ties to even, exact at any precision. Raises ValueError for NaN and infinities."""
    if not amount.is_finite():
        raise ValueError(f"{amount} cannot be rounded")
    return divide_half_even(*amount.as_integer_ratio())


def convert(cost_nano_usd: int, rate: Decimal) -> int:
    """Nano-units of the billing currency at `rate` units a US dollar, rounded half-even to a nano.

    Raises BadAmount for a rate that is not a positive finite number and for a result beyond a bigint.
    """
    if not rate.is_finite() or rate <= 0:
        raise BadAmount(f"exchange rate {rate} is not a positive number")
    numerator, denominator = rate.as_integer_ratio()
    return _bounded(divide_half_even(cost_nano_usd * numerator, denominator), f"{cost_nano_usd} nano USD × {rate}")


def format_amount(nano: int, currency: str, locale: str) -> str:
    """The amount for people, as `29.000 VND` (vi), `50,000 KRW` (ko) or `10.00 USD` (en).

    Grouped as the locale does, half-even to the currency's minor digits. An amount below a hundred minor units
    (1 USD, 100 VND) keeps four significant digits, so that a call's price reads `0.00625 USD` and nothing but
    zero is shown as zero. Raises UnknownCurrency and UnknownLocale.
    """
    minor = minor_digits(currency)
    decimals = max(minor, min(_NANO_DIGITS, _decimals_of_small(nano, minor)))
    shown = Decimal(divide_half_even(nano, 10 ** (_NANO_DIGITS - decimals))).scaleb(-decimals)
    pattern = "#,##0." + "0" * minor + "#" * (decimals - minor)
    return f"{format_decimal(shown, pattern, locale=_locale(locale))} {currency}"


def _decimals_of_small(nano: int, minor: int) -> int:
    """Decimals that show four significant digits of an amount below a hundred minor units; 0 above."""
    if nano == 0 or abs(nano) >= 100 * 10 ** (_NANO_DIGITS - minor):
        return 0
    return _NANO_DIGITS - len(str(abs(nano))) + _SIGNIFICANT_DIGITS


@cache
def _locale(identifier: str) -> Locale:
    try:
        return Locale.parse(identifier, sep="-")
    except (UnknownLocaleError, ValueError) as error:
        raise UnknownLocale(f"locale {identifier!r} is not known") from error


def _bounded(nano: int, what: str) -> int:
    if abs(nano) > MAX_NANO:
        raise BadAmount(f"{what} is more than one entry can hold")
    return nano
