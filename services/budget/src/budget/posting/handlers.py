"""`usage.priced` in; postings, `budget.events` and `budget.balances` out."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Final, TypeVar
from uuid import UUID

import structlog

from budget import metrics
from budget.alerts.operations import announce_courses, balances
from budget.posting.entries import Entry, read
from budget.posting.rules import LeftOut, Tally, apply, settle_at_once, tally
from budget.shares.rules import WindowKey
from budget.unit import Store, Unit
from farebox import faults
from farebox.clock import Clock
from farebox.events import Undecodable
from farebox.kafka import Offsets, Record, Rejected

log = structlog.get_logger()

AnswerT = TypeVar("AnswerT")
WorkT = TypeVar("WorkT")

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

    async def _post(self, unit: Unit, entries: list[Entry]) -> None:
        by_id = {entry.entry_id: entry for entry in entries}
        sort = await _sorting(unit, list(by_id.values()))
        before, (tallies, left) = await meanwhile(unit.books.seen_before(by_id), lambda: sort(by_id.values()))
        if before:
            for entry_id in before:
                del by_id[entry_id]
            tallies, left = sort(by_id.values())
        metrics.DUPLICATES.inc(len(entries) - len(by_id))
        if by_id:
            _show(left)
            await self._post_fresh(unit, list(by_id.values()), tallies)

    async def _post_fresh(self, unit: Unit, fresh: list[Entry], tallies: Mapping[WindowKey, Tally]) -> None:
        now = self._clock.now()
        await unit.books.open({key: each.span for key, each in tallies.items()})
        windows = await unit.books.lock(tallies)
        keys = [key for each in tallies.values() for key in each.shares()]
        shares = {share.key: share for share in await unit.books.shares_named(keys)} if keys else {}
        settles = _settled_by(fresh)
        open_ = await unit.books.uncertain_of(settles) if settles else {}
        if doubtful := {part.attempt_id for each in tallies.values() for part in each.parts if part.uncertain}:
            settle_at_once(tallies.values(), await unit.books.corrected(doubtful))
        outcome = apply(tallies.values(), windows, shares, open_)
        told = ((each.budget, outcome.windows[each.key]) for each in tallies.values())
        _, news = await meanwhile(unit.books.save(outcome.windows, outcome.shares, now), lambda: balances(told, now))
        await unit.books.add_uncertain(outcome.uncertain, now)
        if settles:
            await unit.books.end_uncertain(settles, now, CORRECTED)
            await unit.books.note_corrected(settles, now)
        metrics.MARKS.inc(await announce_courses(unit, outcome.courses, outcome.windows, now))
        await unit.announce(news)
        metrics.observe_postings(fresh, lag_s=(now - max(entry.priced_at for entry in fresh)).total_seconds())


async def _sorting(
    unit: Unit, entries: Sequence[Entry]
) -> Callable[[Iterable[Entry]], tuple[dict[WindowKey, Tally], list[LeftOut]]]:
    """How these entries, or some of them, are sorted into windows."""
    budgets = await unit.registry.budgets_of(set().union(*{entry.principal.path() for entry in entries}))
    leases = {entry.lease.lease_id for entry in entries if entry.lease and not entry.held}
    held = await unit.books.leases(leases) if leases else {}
    settles = _settled_by(entries)
    unsure = await unit.books.uncertain_of(settles) if settles else {}
    return lambda some: tally(some, budgets, held, unsure)


def _settled_by(entries: Iterable[Entry]) -> set[UUID]:
    """The attempts whose true usage is entered."""
    return {entry.attempt_id for entry in entries if entry.kind == "correction"}


async def meanwhile(asked: Coroutine[None, None, AnswerT], work: Callable[[], WorkT]) -> tuple[AnswerT, WorkT]:
    """Work while the database does what it is asked; a batch takes both of them some milliseconds."""
    task = asyncio.create_task(asked)
    await asyncio.sleep(0)  # now it is asked
    try:
        done = work()
    finally:
        await asyncio.wait([task])  # a connection that waits for an answer can do nothing else, not even roll back
    return await task, done


def _read(records: Sequence[Record]) -> tuple[list[Entry], list[Rejected]]:
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    for record in records:
        try:
            event = read(headers=record.headers, value=record.value)
        except Undecodable as error:
            rejected.append(Rejected(record, error.reason, error.detail))
            continue
        if not isinstance(event, Entry):
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
