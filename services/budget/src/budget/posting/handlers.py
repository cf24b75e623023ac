"""`usage.priced` in; postings, `budget.events` and `budget.balances` out."""

from collections.abc import Callable, Sequence

from budget import metrics
from budget.alerts.operations import announce_courses, balances
from budget.budgets.rules import BudgetsByAccount
from budget.posting.rules import Outcome, Shares, Tally, apply, foreign_currency, tally
from budget.store import Store, Unit
from farebox import faults
from farebox.clock import Clock
from farebox.events import Undecodable, UsagePriced, decode
from farebox.kafka import Record, Rejected


class UsageHandler:
    """Posts every ledger entry exactly once to the budgets on its path, and wakes the relay."""

    def __init__(self, store: Store, clock: Clock, wake: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake

    async def __call__(self, records: Sequence[Record]) -> Sequence[Rejected]:
        entries, rejected = _read(records)
        if entries:
            async with self._store.transaction() as unit:
                rejected.extend(await self._post(unit, entries))
                faults.point("budget.before_posting_commit")
            faults.point("budget.after_posting_commit")
            self._wake()
        return rejected

    async def _post(self, unit: Unit, entries: list[tuple[Record, UsagePriced]]) -> list[Rejected]:
        accounts = {account for _, entry in entries for account in entry.principal.path()}
        budgets = await unit.registry.budgets_of(accounts)
        good, rejected = _in_one_currency(entries, budgets)
        by_id = {entry.entry_id: entry for entry in good}
        first = await unit.books.first_seen(by_id)
        fresh = [entry for entry_id, entry in by_id.items() if entry_id in first]
        metrics.DUPLICATES.inc(len(good) - len(fresh))
        if fresh:
            await self._post_fresh(unit, fresh, budgets)
        return rejected

    async def _post_fresh(self, unit: Unit, fresh: list[UsagePriced], budgets: BudgetsByAccount) -> None:
        now = self._clock.now()
        leases = {entry.lease.lease_id for entry in fresh if entry.lease}
        tallies = tally(fresh, budgets, await unit.books.shares(leases))
        await unit.books.open({key: each.span for key, each in tallies.items()})
        windows = await unit.books.lock(tallies)
        shares: Shares = await unit.books.shares(leases)  # again: their figures hold only under the windows' locks
        outcome = apply(tallies.values(), windows, shares)
        await unit.books.save(outcome.windows)
        await unit.books.save_shares(outcome.shares)
        await self._announce(unit, tuple(tallies.values()), outcome)
        metrics.observe_postings(fresh, lag_s=(now - max(entry.priced_at for entry in fresh)).total_seconds())

    async def _announce(self, unit: Unit, tallies: Sequence[Tally], outcome: Outcome) -> None:
        now = self._clock.now()
        metrics.MARKS.inc(await announce_courses(unit, outcome.courses, outcome.windows, now))
        await unit.announce(balances(((each.budget, outcome.windows[each.key]) for each in tallies), now))


def _read(records: Sequence[Record]) -> tuple[list[tuple[Record, UsagePriced]], list[Rejected]]:
    entries: list[tuple[Record, UsagePriced]] = []
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
            entries.append((record, event))
        else:
            metrics.SUSPENDED.inc()
    return entries, rejected


def _in_one_currency(
    entries: list[tuple[Record, UsagePriced]], budgets: BudgetsByAccount
) -> tuple[list[UsagePriced], list[Rejected]]:
    good: list[UsagePriced] = []
    rejected: list[Rejected] = []
    for record, entry in entries:
        if budget := foreign_currency(entry, budgets):
            detail = f"billed in {entry.currency}, budget {budget.name!r} counts in {budget.currency}"
            rejected.append(Rejected(record, "foreign_currency", detail))
        else:
            good.append(entry)
    return good, rejected
