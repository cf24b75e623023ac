"""Price rows of one origin, operators' or our own, and which of them applies to a call."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, TypeAlias

from farebox.pricing.names import covers, is_pattern, literal_length
from farebox.pricing.rates import Rates
from farebox.pricing.row import PriceRow


class Priced(NamedTuple):
    """A row, compiled."""

    row: PriceRow
    rates: Rates


Found: TypeAlias = tuple[tuple[Priced, ...], ...]
"""Rows of one name or pattern each, the nearest first."""


class Layer:
    """Rows by provider and model, in whatever order they came. Names are in lower case.

    A row applies to the name it states, or to every name that its pattern covers. A row of the name goes before one of
    a pattern, the longest pattern (by its fixed characters) before shorter ones, an org's own before one for all, the
    one that starts last before older ones, and the greater id before the smaller: in this order.
    """

    def __init__(self, rows: Iterable[PriceRow] = ()) -> None:
        self._rows: dict[tuple[str, str], dict[str, Priced]] = {}
        self._patterns: dict[str, tuple[str, ...]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: PriceRow) -> None:
        """Take a row. The same id again replaces the row of that model."""
        provider, model = row.provider.lower(), row.model.lower()
        self._rows.setdefault((provider, model), {})[row.id] = Priced(row, row.compiled())
        if is_pattern(model):
            patterns = {*self._patterns.get(provider, ()), model}
            self._patterns[provider] = tuple(sorted(patterns, key=lambda each: (-literal_length(each), each)))

    def replace(self, provider: str, model: str, rows: Iterable[PriceRow]) -> None:
        """Take these as all rows of one name or pattern."""
        self._rows.pop((provider, model), None)
        for row in rows:
            self.add(row)

    def found(self, provider: str, names: Iterable[str]) -> Found:
        """Rows that may apply to a model known by several names, the nearest first, by the name or pattern stated."""
        if not self._rows:
            return ()
        names = tuple(names)
        patterns = (each for each in self._patterns.get(provider, ()) if any(covers(each, name) for name in names))
        rows = (self._rows.get((provider, key)) for key in (*names, *patterns))
        return tuple(tuple(each.values()) for each in rows if each)

    def rows(self, provider: str) -> tuple[PriceRow, ...]:
        """All rows of a provider."""
        return tuple(one.row for (owner, _), rows in self._rows.items() if owner == provider for one in rows.values())


def applying(found: Found, at: datetime, org: str | None) -> Rates | None:
    """The rates, of what may apply, that are in force at an instant for an org."""
    for rows in found:
        in_force = [one for one in rows if one.row.org in (None, org) and _is_in_force(one.row, at)]
        if in_force:
            return max(in_force, key=_precedence).rates
    return None


def _is_in_force(row: PriceRow, at: datetime) -> bool:
    return row.effective_from <= at and (row.effective_to is None or at < row.effective_to)


def _precedence(one: Priced) -> tuple[bool, datetime, str]:
    return one.row.org is not None, one.row.effective_from, one.row.id
