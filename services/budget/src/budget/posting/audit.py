"""Σ ledger = Σ posted: every window's figure against what the ledger announced of it, posted anew by the same rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from budget.posting.entries import Entry, read
from budget.posting.rules import tally
from budget.shares.rules import WindowKey
from budget.store import Unit
from budget.store.books import Posted
from farebox.events import Undecodable
from farebox.kafka import Record

UNSURE: Final = timedelta(minutes=1)
"""An entry priced less than so long after its budget was made may have been posted before it was seen."""


@dataclass(slots=True)
class Due:
    """What a window must show: `sure`, and within `less` (≤ 0) and `more` (≥ 0) what is from before its budget was."""

    sure: int = 0
    less: int = 0
    more: int = 0

    def add(self, amount: int, *, is_sure: bool) -> None:
        if is_sure:
            self.sure += amount
        elif amount < 0:
            self.less += amount
        else:
            self.more += amount

    def allows(self, posted: int) -> bool:
        return self.sure + self.less <= posted <= self.sure + self.more


class Audit:
    """Takes every record of `usage.priced`, in any order and any number of times, in one `Store.audit`.

    Every entry that was posted by the instant of the audit is on the topic: it was announced before.
    """

    def __init__(self, unit: Unit, windows: Mapping[WindowKey, Posted]) -> None:
        self._unit = unit
        self._windows = windows
        self._due = {key: Due() for key in windows}

    async def note(self, records: Sequence[Record]) -> None:
        entries = {entry.entry_id: entry for record in records if (entry := entry_of(record))}
        posted = await self._unit.books.audit_posted(entries)
        fresh = [entry for entry_id, entry in entries.items() if entry_id in posted]
        accounts = {account for entry in fresh for account in entry.principal.path()}
        budgets = await self._unit.registry.budgets_of(accounts)
        leases = await self._unit.books.leases({entry.lease.lease_id for entry in fresh if entry.lease})
        tallies, _ = tally(fresh, budgets, leases, {})
        for key, each in tallies.items():
            for part in each.parts:
                if window := self._windows.get(key):
                    is_sure = entries[part.entry_id].priced_at >= window.counts_from + UNSURE
                    self._due[key].add(part.amount, is_sure=is_sure)

    def broken(self, since: datetime) -> list[Mapping[str, Any]]:
        """Windows that show another figure; those that began before `since`, the topic does not tell all of."""
        return [
            {
                "budget_id": key[0],
                "name": window.name,
                "window_start": key[1],
                "posted": window.amount,
                "ledger": self._due[key].sure,
                "ledger_of_before": self._due[key].less + self._due[key].more,
            }
            for key, window in self._windows.items()
            if max(key[1], window.counts_from) >= since and not self._due[key].allows(window.amount)
        ]


def entry_of(record: Record) -> Entry | None:
    """None for what is no entry: poison is among the dead letters, what has no price yet is not posted."""
    try:
        event = read(headers=record.headers, value=record.value)
    except Undecodable:
        return None
    return event if isinstance(event, Entry) and event.suspense is None else None
