"""Σ ledger = Σ posted: every budget, window by window, by what the harness knows of each call. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from chaos.bill import Billed
from chaos.budgets import Budget, Target
from chaos.calls import provider_of
from chaos.evidence import Evidence
from chaos.findings import Finding
from chaos.knowledge import Run
from farebox.events import UsagePriced

UNSENT_S = 10.0
"""A charge on no bill was admitted within so long before its event says."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A ledger entry: for which accounts and what, and when its call was admitted."""

    path: frozenset[str]
    target: Target
    since: float
    until: float
    amounts: Mapping[str, int]


def misposted(run: Run, evidence: Evidence, bill: Sequence[Billed]) -> Iterator[Finding]:
    """Budget heard of every entry, and each counts where its call was admitted."""
    for row in evidence.ledger:
        if row["entry_id"] not in evidence.priced:
            yield Finding("not announced", f"entry {row['entry_id']} is on no usage.priced")
    by_attempt = {each.line["request_id"]: each for each in bill}
    amounts = {row["entry_id"]: row["amount_nano"] for row in evidence.ledger}
    entries = [
        _entry(run, event, amounts.get(entry_id, 0), by_attempt.get(str(event.attempt_id)))
        for entry_id, event in evidence.priced.items()
    ]
    for _, budget in run.budgets():
        yield from _misposted_to(run, evidence, budget, entries)
    yield from _held_in_another_window(run, evidence, by_attempt)
    yield from _misdated(run, evidence, by_attempt)


def _misdated(run: Run, evidence: Evidence, by_attempt: Mapping[str, Billed]) -> Iterator[Finding]:
    """A charge is dated when its call was made, whatever the clock of its gateway's machine shows."""
    for event in evidence.priced.values():
        billed = by_attempt.get(str(event.attempt_id))
        at = run.seconds(event.occurred_at)
        if billed is not None and not billed.call.began - UNSENT_S <= at <= billed.at + UNSENT_S:
            off_s = at - billed.call.began
            why = f"{billed.call.id} by {billed.call.gateway} is dated {off_s:+.0f} s from when it was made"
            yield Finding("misdated", why, call=billed.call)


def _held_in_another_window(run: Run, evidence: Evidence, by_attempt: Mapping[str, Billed]) -> Iterator[Finding]:
    """What a call held was of the window it was admitted in, not of one that had ended."""
    budgets = {budget.budget_id: budget for _, budget in run.budgets() if budget.midnights}
    for entry_id, held in evidence.held_in.items():
        billed = by_attempt.get(str(evidence.priced[entry_id].attempt_id))
        for budget_id in budgets.keys() & held.keys() if billed else ():
            assert billed is not None
            budget, call = budgets[budget_id], billed.call
            number = budget.window(call.began, billed.at)
            held_in = budget.window_from(run.seconds(held[budget_id]))
            if number is not None and number != held_in:
                late_s = call.began - budget.midnights[min(number, held_in)]
                why = (
                    f"{call.id} by {call.gateway} held window {held_in + 1} of {budget}, {late_s:.1f} s after midnight"
                )
                yield Finding("held in another window", why, call=call)


def _entry(run: Run, event: UsagePriced, amount: int, billed: Billed | None) -> _Entry:
    amounts = {"money": amount, "requests": event.requests, "tokens": event.tokens}
    path = frozenset(event.principal.path())
    at = run.seconds(event.occurred_at)
    if billed is not None:
        return _Entry(path, billed.call.target, billed.call.began, billed.at, amounts)
    target = Target(provider_of(event.model), event.model, event.feature)
    return _Entry(path, target, at - UNSENT_S, at, amounts)


def _misposted_to(run: Run, evidence: Evidence, budget: Budget, entries: Sequence[_Entry]) -> Iterator[Finding]:
    posted: Counter[int] = Counter()
    for row in evidence.windows:
        if row["budget_id"] == UUID(budget.budget_id):
            posted[budget.window_from(run.seconds(row["window_start"]))] += int(row["posted"])
    sure: Counter[int] = Counter()
    somewhere, perhaps = 0, 0
    for entry in entries:
        if budget.account not in entry.path or not budget.counts(entry.target):
            continue
        amount = entry.amounts[budget.measure]
        number = budget.window(entry.since, entry.until)
        if not budget.surely_counts(entry.since, entry.until):
            perhaps += amount
        elif number is None:
            somewhere += amount
        else:
            sure[number] += amount
    yield from _compared(budget, posted, sure, somewhere, perhaps)


def _compared(
    budget: Budget, posted: Counter[int], sure: Counter[int], somewhere: int, perhaps: int
) -> Iterator[Finding]:
    """`somewhere` is in one of two windows; `perhaps` is in one, or in none."""
    least = sum(sure.values()) + somewhere
    total = sum(posted.values())
    told = f"{budget}: {total} posted, {least} in the ledger{f', {perhaps} more perhaps' if perhaps else ''}"
    if total > least + perhaps:
        yield Finding("charged twice", told, total - least - perhaps)
    elif total < least:
        yield Finding("not posted", told, least - total)
    else:
        for number in sorted(sure | posted):
            if not sure[number] <= posted[number] <= sure[number] + somewhere + perhaps:
                why = f"{budget}, window {number + 1}: {posted[number]} posted, {sure[number]} admitted in it"
                yield Finding("posted to another window", why, abs(posted[number] - sure[number]))
