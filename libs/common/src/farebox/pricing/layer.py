"""Price rows of one origin, operators' or our own, and which of them applies to a call."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from farebox.pricing.names import covers, is_pattern, literal_length
from farebox.pricing.rates import Rates
from farebox.pricing.row import PriceRow


class _Priced(NamedTuple):
    row: PriceRow
    rates: Rates


class Layer:
    """Rows by provider and model, in whatever order they came. Names are in lower case.

    A row applies to the name it states, or to every name that its pattern covers. A row of the name goes before one of
    a pattern, the longest pattern (by its fixed characters) before shorter ones, an org's own before one for all, the
    one that starts last before older ones, and the greater id before the smaller: in this order.
    """

    def __init__(self, rows: Iterable[PriceRow] = ()) -> None:
        self._rows: dict[tuple[str, str], dict[str, _Priced]] = {}
        self._patterns: dict[str, tuple[str, ...]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: PriceRow) -> None:
        """Take a row. The same id again replaces the row of that model."""
        provider, model = row.provider.lower(), row.model.lower()
        self._rows.setdefault((provider, model), {})[row.id] = _Priced(row, row.compiled())
        if is_pattern(model):
            patterns = {*self._patterns.get(provider, ()), model}
            self._patterns[provider] = tuple(sorted(patterns, key=lambda each: (-literal_length(each), each)))

    def replace(self, provider: str, model: str, rows: Iterable[PriceRow]) -> None:
        """Take these as all rows of one name or pattern."""
        self._rows.pop((provider, model), None)
        for row in rows:
            self.add(row)

    def rates(self, provider: str, names: Iterable[str], at: datetime, org: str | None) -> Rates | None:
        """The rates of a model that is known by several names, the nearest first."""
        for name in self._keys(provider, names):
            rows = self._rows.get((provider, name), {}).values()
            in_force = [one for one in rows if one.row.org in (None, org) and _is_in_force(one.row, at)]
            applies = max(in_force, key=_precedence, default=None)
            if applies is not None:
                return applies.rates
        return None

    def rows(self, provider: str, names: Iterable[str] | None = None) -> tuple[PriceRow, ...]:
        """Rows that may apply to a model known by these names; without names all of the provider's."""
        if names is None:
            keys = [model for owner, model in self._rows if owner == provider]
        else:
            keys = [*self._keys(provider, names)]
        return tuple(one.row for key in keys for one in self._rows.get((provider, key), {}).values())

    def _keys(self, provider: str, names: Iterable[str]) -> Iterator[str]:
        names = tuple(names)
        yield from names
        for pattern in self._patterns.get(provider, ()):
            if any(covers(pattern, name) for name in names):
                yield pattern


def _is_in_force(row: PriceRow, at: datetime) -> bool:
    return row.effective_from <= at and (row.effective_to is None or at < row.effective_to)


def _precedence(one: _Priced) -> tuple[bool, datetime, str]:
    return one.row.org is not None, one.row.effective_from, one.row.id
