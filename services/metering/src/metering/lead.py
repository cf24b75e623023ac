"""Whether a new price is a raise: dearer, for anybody, than what is in force without it.

A gateway holds the worst case of a call at the prices it knows. So a raise that takes effect before every gateway knows
it is billed above what was held; a price that is nowhere dearer is not, whenever it takes effect.
"""

from collections.abc import Mapping
from datetime import datetime

from farebox.pricing import Catalogue, PriceRow, Rates, RateTable
from farebox.pricing.rates import table_of


def raised_at(before: Catalogue, row: PriceRow, until: datetime) -> datetime | None:
    """The first instant before `until` at which the row makes a call dearer for anybody; None if there is none.

    Where nothing had a price, no call could be made, so that a first price is no raise.
    """
    rows = before.rows_for(row.provider, row.model)
    after = Catalogue([*rows, row])
    orgs = {row.org} if row.org is not None else {None, *(other.org for other in rows)}
    for at in after.turns(row.provider, row.model, row.effective_from, until):
        for org in orgs:
            old = before.rates_for(row.provider, row.model, at, org)
            new = after.rates_for(row.provider, row.model, at, org)
            if old is not None and new is not None and is_dearer(new, old):
                return at
    return None


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
