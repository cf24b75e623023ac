"""`usage.priced` in; postings, `budget.events` and `budget.balances` out."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from budget import metrics
from budget.alerts.operations import announce_courses, balances
from budget.posting.rules import LeftOut, Posted, Tally, apply, tally
from budget.unit import Store, Unit
from farebox import faults
from farebox.clock import Clock
from farebox.events import Undecodable, UsagePriced, decode
from farebox.kafka import Offsets, Record, Rejected

log = structlog.get_logger()

CORRECTED: Final = "corrected"
"""Why an uncertain amount ended: the true usage was entered."""


class UsageHandler:
    """Posts every ledger entry exactly once to the budgets on its path, and wakes the relay."""

    def __init__(self, store: Store, clock: Clock, wake: Callable[[], None], offsets: Offsets) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake
        self._offsets = offsets

    async def __call__(self, records: Sequence[Record]) -> Sequence[Rejected]:
        entries, rejected = _read(records)
        async with self._store.transaction() as unit:
            if entries:
                await self._post(unit, entries)
            await unit.note(self._offsets, records)
            faults.point("budget.before_posting_commit")
        faults.point("budget.after_posting_commit")
        self._wake()
        return rejected

    async def _post(self, unit: Unit, entries: list[UsagePriced]) -> None:
        by_id = {entry.entry_id: entry for entry in entries}
        first = await unit.books.first_seen(by_id)
        fresh = [entry for entry_id, entry in by_id.items() if entry_id in first]
        metrics.DUPLICATES.inc(len(entries) - len(fresh))
        if fresh:
            await self._post_fresh(unit, fresh)

    async def _post_fresh(self, unit: Unit, fresh: list[UsagePriced]) -> None:
        now = self._clock.now()
        budgets = await unit.registry.budgets_of({account for entry in fresh for account in entry.principal.path()})
        leases = {entry.lease.lease_id for entry in fresh if entry.lease and not entry.held}
        settles = {entry.attempt_id for entry in fresh if entry.kind == "correction"}
        unsure = await unit.books.uncertain_of(settles) if settles else {}
        tallies, left = tally(fresh, budgets, await unit.books.leases(leases) if leases else {}, unsure)
        _show(left)
        await unit.books.open({key: each.span for key, each in tallies.items()})
        windows = await unit.books.lock(tallies)
        keys = {part.share for each in tallies.values() for part in each.parts if part.share}
        shares = {share.key: share for share in await unit.books.shares_named(keys)} if keys else {}
        open_ = await unit.books.uncertain_of(settles) if settles else {}
        outcome = apply(tallies.values(), windows, shares, open_)
        await unit.books.save(outcome.windows)
        await unit.books.save_shares(outcome.shares, now)
        await unit.books.add_uncertain(outcome.uncertain, now)
        if settles:
            await unit.books.end_uncertain(settles, now, CORRECTED)
        await self._announce(unit, tuple(tallies.values()), outcome)
        metrics.observe_postings(fresh, lag_s=(now - max(entry.priced_at for entry in fresh)).total_seconds())

    async def _announce(self, unit: Unit, tallies: Sequence[Tally], outcome: Posted) -> None:
        now = self._clock.now()
        metrics.MARKS.inc(await announce_courses(unit, outcome.courses, outcome.windows, now))
        await unit.announce(balances(((each.budget, outcome.windows[each.key]) for each in tallies), now))


def _read(records: Sequence[Record]) -> tuple[list[UsagePriced], list[Rejected]]:
    entries: list[UsagePriced] = []
    rejected: list[Rejected] = []
    for record in records:
        try:
            event = decode(headers=record.headers, value=record.value).event
        except Undecodable as error:
            rejected.append(Rejected(record, error.reason, error.detail))
            continue
        if not isinstance(event, UsagePriced):
            rejected.append(Rejected(record, "unexpected_type", event.type))
        elif event.suspense is None:
            entries.append(event)
        else:
            metrics.SUSPENDED.inc()
    return entries, rejected


def _show(left: Sequence[LeftOut]) -> None:
    """Nothing is dropped in silence: each part left out is logged and counted."""
    metrics.FOREIGN.inc(len(left))
    for each in left:
        log.warning(
            "foreign_currency_left_out",
            entry=str(each.entry_id),
            budget=str(each.budget.budget_id),
            billed_in=each.currency,
            counts_in=each.budget.currency,
        )
