"""Compacted topics: the last record of a key is its newest state. Pure."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from chaos.evidence import Evidence
from chaos.findings import Finding
from chaos.knowledge import Run
from chaos.tariff import Rate
from farebox.events import PriceListed


def outdated(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """All sentences about compacted topics."""
    yield from _prices(run, evidence)
    yield from _balances(run, evidence)


def _prices(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """The catalogue ends with the price that was announced last."""
    for model, event in evidence.catalogue.items():
        if run.tariff.has(model) and (told := _rate(event)) != (newest := run.tariff.newest(model)):
            yield Finding("outdated record", f"price.catalogue ends with {told} for {model}; it is {newest}")


def _rate(event: PriceListed) -> Rate:
    """Nano-USD a token: a thousand times USD a million tokens."""
    row = max(event.rows, key=lambda each: (each.effective_from, each.id))
    input_, output = (int(row.rates[unit] * 1000) for unit in ("input", "output"))
    return Rate(input_, input_, output)


def _balances(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """No balance is followed by an older one."""
    named = {UUID(budget.budget_id): budget for _, budget in run.budgets()}
    newest: dict[UUID, tuple[datetime, int]] = {}
    last: dict[UUID, tuple[datetime, int]] = {}
    for event in evidence.balances:
        state = event.budget
        version = (state.window.start, state.revision)
        last[state.budget_id] = version
        newest[state.budget_id] = max(version, newest.get(state.budget_id, version))
    for budget_id, version in last.items():
        if version != newest[budget_id]:
            why = f"budget.balances ends with {version} of {named.get(budget_id, budget_id)} after {newest[budget_id]}"
            yield Finding("outdated record", why)
