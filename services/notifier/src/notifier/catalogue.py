"""What messages say and how figures are written: one TOML file a language, the same keys in all."""

import tomllib
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from functools import cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale as BabelLocale
from babel.dates import format_datetime
from babel.numbers import format_decimal

from farebox.events import Locale, Measure
from farebox.money import format_amount
from notifier.errors import UnknownZone

LANGUAGES: Final = ("vi", "ko", "en")
_ONE_DECIMAL: Final = Decimal("0.1")


class Catalogue:
    """The texts of one language and one time zone. Raises UnknownZone when made for a zone nobody knows."""

    def __init__(self, locale: Locale) -> None:
        self.language = locale.language
        self.zone = locale.zone
        self._texts = texts(locale.language)
        self._babel = BabelLocale.parse(locale.language)
        self._tzinfo = _zone(locale.zone)

    def text(self, key: str, **values: str) -> str:
        """The text under `section.name`, its `{placeholders}` filled in."""
        return self._texts[key].format(**values)

    def named(self, section: str, name: str) -> str:
        """The text under a name that people chose, such as a severity; the name itself where there is none."""
        return self._texts.get(f"{section}.{name}", name)

    def amount(self, quantity: int, measure: Measure, currency: str | None) -> str:
        """Money in its currency, or a count with its unit. Raises UnknownCurrency."""
        if measure == "money":
            return format_amount(quantity, currency or "", self.language)
        form = "one" if self._babel.plural_form(quantity) == "one" else "other"
        return self.text(f"unit.{measure}_{form}", count=format_decimal(quantity, "#,##0", locale=self._babel))

    def ratio(self, percent: Decimal) -> str:
        """`75.0%`: one decimal, rounded down, so that a mark is shown as reached only when it is."""
        shown = percent.quantize(_ONE_DECIMAL, ROUND_FLOOR)
        return self.text("format.ratio", percent=format_decimal(shown, "#,##0.0", locale=self._babel))

    def mark(self, percent: Decimal) -> str:
        """`80%`: a configured share, with the decimals it was given."""
        return self.text("format.ratio", percent=format_decimal(percent, "#,##0.####", locale=self._babel))

    def time(self, instant: datetime) -> str:
        """To the minute, in the account's zone."""
        pattern = self._texts["format.time"]
        return format_datetime(instant, pattern, tzinfo=self._tzinfo, locale=self._babel)


@cache
def texts(language: str) -> Mapping[str, str]:
    """All texts of a language by `section.name`."""
    path = files("notifier") / "catalogues" / f"{language}.toml"
    sections = tomllib.loads(path.read_text("utf-8"))
    return {f"{section}.{name}": text for section, named in sections.items() for name, text in named.items()}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UnknownZone(f"time zone {name!r} is not known") from error
