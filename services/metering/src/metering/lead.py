"""Whether a new price is a raise: dearer, for anybody, than what is in force without it.

A gateway holds the worst case of a call at the prices it knows. So a raise that takes effect before every gateway knows
it is billed above what was held; a price that is nowhere dearer is not, whenever it takes effect.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from farebox.pricing import Catalogue, PriceRow, Rates, RateTable
from farebox.pricing.names import covers, is_pattern, meeting
from farebox.pricing.rates import table_of

_DATES: Final = ("-latest", "-2026-01-01", "-20260101")
"""By what a name may be longer than the row's that it finds."""


def raised_at(before: Catalogue, row: PriceRow, until: datetime) -> datetime | None:
    """The first instant before `until` at which the row makes a call dearer for anybody; None if there is none.

    A row whose id is known takes the place of that one. Where nothing had a price, no call could be made, so that a
    first price is no raise.
    """
    rows = before.rows(row.provider)
    after = Catalogue([*rows, row])
    orgs = {row.org} if row.org is not None else {None, *(other.org for other in rows)}
    raises = (
        at
        for model in references(before, row)
        for at in after.turns(row.provider, model, row.effective_from, until)
        for org in orgs
        if _is_raise(after.rates_for(row.provider, model, at, org), before.rates_for(row.provider, model, at, org))
    )
    return min(raises, default=None)


def references(before: Catalogue, row: PriceRow) -> set[str]:
    """Names that a row may apply to, one for each way in which others may have applied to them.

    Of a pattern every model that is listed, and a name where it meets each other pattern.
    """
    model = row.model.lower()
    if not is_pattern(model):
        return {model, *(f"{model}{suffix}" for suffix in _DATES)}
    others = {other.model.lower() for other in before.rows(row.provider)}
    listed = {name for name in {*before.models(row.provider), *others} if not is_pattern(name) and covers(model, name)}
    met = {meeting(model, other) for other in others | {model} if is_pattern(other)}
    return listed | {name for name in met if name is not None}


def _is_raise(new: Rates | None, old: Rates | None) -> bool:
    return new is not None and old is not None and is_dearer(new, old)


def is_dearer(new: Rates, old: Rates) -> bool:
    """Whether any unit costs more at any service tier, speed or geography, in a context of any length.

    A mode that had no price is compared with the standard one: that is the least that was held for such a call.
    """
    lengths = {table.above + 1 for rates in (old, new) for tables in rates.modes.values() for table in tables}
    return any(
        _costs_more(table_of(tables, length), table_of(old.ladder(mode) or old.standard, length))
        for mode, tables in new.modes.items()
        for length in lengths
    )


def _costs_more(new: RateTable, old: RateTable) -> bool:
    tokens = zip(new.tokens, old.tokens, strict=True)
    if new.request > old.request or any(a is not None and b is not None and a > b for a, b in tokens):
        return True
    return _any_tool_costs_more(new.tools, old.tools)


def _any_tool_costs_more(new: Mapping[str, int], old: Mapping[str, int]) -> bool:
    return any(tool in old and rate > old[tool] for tool, rate in new.items())
