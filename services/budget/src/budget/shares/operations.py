"""What gateways and operators do with shares: read, lock, ask `rules`, store. At most BATCH windows a transaction."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

from budget import metrics
from budget.errors import Fenced, StillAlive
from budget.shares.positions import located, settled
from budget.shares.rules import OwnShare, Positions, Share, ShareKey, WindowKey
from budget.shares.silence import SilenceWatch
from budget.store.rows import SuspendedShare
from budget.unit import Store, Unit
from farebox.clock import Clock
from farebox.errors import NotFound
from farebox.shares import Beat, BeatAnswer, ShareReport, ShareTotal, StartAnswer, StartRequest, WindowRef

BATCH: Final = 100
"""Windows in one transaction: nobody who asks for one of them waits for more."""
READ_MAX: Final = 1_000
"""Shares read by one statement, without a lock."""
SUSPENDED_MAX: Final = 1_000
CHANGES_MAX: Final = 500
"""Changed accounts told in one answer; beyond, a gateway forgets every policy."""
KeyedT = TypeVar("KeyedT", ShareReport, ShareKey)

KEPT_FOR: Final = timedelta(days=30)
"""Leases of the version before, and changes of policies, are kept for so long."""


class Shares:
    """Starts, beats, suspense and release. Raises Fenced, and Transient when PostgreSQL is away.

    `release_after_s`: a gateway that hears nothing for five minutes admits nothing; the calls it had then may last.
    """

    def __init__(self, store: Store, clock: Clock, wake: Callable[[], None], *, release_after_s: float) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake
        self._silence = SilenceWatch()
        self._release_after_s = release_after_s

    async def start(self, request: StartRequest) -> StartAnswer:
        """Begin the gateway's next epoch and account for the shares of those before."""
        async with self._store.transaction() as unit:
            epoch, is_whole = await unit.books.start_gateway(
                request.gateway_id,
                request.process_id,
                last_epoch=request.last_epoch,
                last_record=request.last_record,
                is_whole=request.is_whole,
            )
        spent = {(each.budget_id, each.window_start): each.spent for each in request.spent}
        if is_whole:
            keys = [ShareKey(*window, request.gateway_id, epoch - 1) for window in spent]
            for part in _parts(keys, BATCH):
                async with self._store.transaction() as unit:
                    await self._end(unit, part, spent)
        if not request.more:
            await self._end_the_rest(request.gateway_id, epoch, is_whole=is_whole)
        self._wake()
        async with self._store.transaction() as unit:
            now = await unit.books.seen(request.gateway_id, epoch, last_record=0, policy_revision=0)
        return StartAnswer(epoch=epoch, now=now)

    async def beat(self, beat: Beat) -> BeatAnswer:
        """Take the gateway's totals; answer the service's, what others need back, and whose policy has changed."""
        async with self._store.transaction() as unit:
            now = await unit.books.seen(
                beat.gateway_id, beat.epoch, last_record=beat.last_record, policy_revision=beat.policy_revision
            )
            if now is None:
                raise Fenced(f"epoch {beat.epoch} of this gateway is over")
            await unit.books.confirm_budgets(self._clock.now())
            changes = await unit.books.policy_changes(beat.policy_revision, CHANGES_MAX + 1)
            newest = changes[0][0] if changes else await unit.books.newest_policy_change()
            recalled = await unit.books.recalled(beat.gateway_id, beat.epoch)
            own = await own_shares(unit, beat.gateway_id, beat.epoch, recalled)
            totals = [_total(key, each, each.granted) for key, each in zip(recalled, own, strict=True) if each]
        for part in _parts(beat.reports, READ_MAX):
            totals += await self._report(beat.gateway_id, beat.epoch, part)
        return BeatAnswer(
            shares=tuple(totals),
            recalled=tuple(WindowRef(budget_id=budget_id, window_start=start) for budget_id, start in recalled),
            policy_revision=newest,
            changed=_changed(beat.policy_revision, newest, changes),
            now=now,
        )

    async def suspend_lost(self, unheard_for: timedelta) -> int:
        """Count as spent what gateways hold that have been silent for so long; how many shares that were.

        Looks at their signs of life; to be called every `LOOK_EVERY_S`. Nothing becomes free by it: until somebody
        releases it, what a lost node may have spent stays spent.
        """
        await self._look()
        async with self._store.transaction() as unit:
            await unit.books.confirm_budgets(self._clock.now())
        silent = self._silence.of_those_silent_for(unheard_for.total_seconds())
        suspended = 0
        while True:
            async with self._store.transaction() as unit:
                lost = await unit.books.shares_of_the_lost(silent, BATCH)
                await self._suspend(unit, lost)
            suspended += len(lost)
            if len(lost) < BATCH:
                break
        self._wake()
        return suspended

    async def release(self, gateway_id: str, epoch: int, note: str, budget_id: UUID | None = None) -> int:
        """An operator's word that nothing of what an epoch has in suspense was spent beyond what is posted.

        The epoch is ended with it. Raises StillAlive until it was silent for long enough, NotFound if it has nothing in
        suspense.
        """
        await self._look()
        await self._releasable(gateway_id, epoch, budget_id)
        released = 0
        while True:
            async with self._store.transaction() as unit:
                await unit.books.fence(gateway_id, epoch)
                shares = await unit.books.shares_to_release(gateway_id, epoch, budget_id, BATCH)
                await self._release(unit, shares, note)
            self._silence.ended((gateway_id, epoch))
            released += len(shares)
            if len(shares) < BATCH:
                break
        self._wake()
        return released

    async def suspended(self) -> list[SuspendedShare]:
        """What is in suspense, the oldest first, at most SUSPENDED_MAX shares."""
        async with self._store.transaction() as unit:
            return await unit.books.suspended(SUSPENDED_MAX)

    async def forget(self) -> None:
        """Delete what is kept for KEPT_FOR."""
        before = self._clock.now() - KEPT_FOR
        async with self._store.transaction() as unit:
            await unit.books.forget_leases(before)
            await unit.books.forget_policy_changes(before)

    async def _look(self) -> None:
        async with self._store.transaction() as unit:
            self._silence.look(await unit.books.signs_of_life(), self._clock.monotonic())

    async def _end(self, unit: Unit, keys: Sequence[ShareKey], spent: Mapping[WindowKey, int]) -> None:
        """By the whole story of an epoch; also what was taken for lost while its gateway was silent."""
        if not keys:
            return
        named = {key.window for key in keys}
        await _open_again(unit, named, await unit.books.read(named))
        positions, windows = await located(unit, keys)
        for key in keys:
            share = positions.share(key)
            if key.window in windows and not share.is_final:
                positions.become(share.ended(spent.get(key.window, 0)))
        await settled(unit, positions, windows, self._clock.now())

    async def _end_what_was_lost(self, gateway_id: str, epoch: int) -> None:
        """Shares in suspense that the whole story of their epoch did not name: never used."""
        while True:
            async with self._store.transaction() as unit:
                left = await unit.books.shares_to_release(gateway_id, epoch, None, BATCH)
                await self._end(unit, [share.key for share in left], {})
            if len(left) < BATCH:
                return

    async def _end_the_rest(self, gateway_id: str, epoch: int, *, is_whole: bool) -> None:
        """Shares that the start did not name: never used where its story is whole, else in suspense."""
        if is_whole:
            await self._end_what_was_lost(gateway_id, epoch - 1)
        while True:
            async with self._store.transaction() as unit:
                left = await unit.books.shares_to_end(gateway_id, epoch, BATCH)
                unused = [share.key for share in left if is_whole and share.key.epoch == epoch - 1]
                await self._end(unit, unused, {})
                await self._suspend(unit, [share for share in left if share.key not in set(unused)])
            if len(left) < BATCH:
                return

    async def _suspend(self, unit: Unit, shares: Sequence[Share]) -> None:
        if not shares:
            return
        keys = [share.key for share in shares]
        positions, windows = await located(unit, keys)
        positions.suspend(key for key in keys if not positions.share(key).is_final)
        await settled(unit, positions, windows, self._clock.now())
        metrics.SHARES_SUSPENDED.inc(len(shares))

    async def _releasable(self, gateway_id: str, epoch: int, budget_id: UUID | None) -> None:
        async with self._store.transaction() as unit:
            if not await unit.books.shares_to_release(gateway_id, epoch, budget_id, 1):
                raise NotFound(f"gateway {gateway_id} has nothing of epoch {epoch} in suspense")
        left_s = self._release_after_s - self._silence.seconds_of((gateway_id, epoch))
        if left_s > 0:
            raise StillAlive(
                f"gateway {gateway_id}, epoch {epoch}, may still be at work: it can be released after another "
                f"{left_s:.0f} s of silence"
            )

    async def _release(self, unit: Unit, shares: Sequence[Share], note: str) -> None:
        keys = [share.key for share in shares]
        positions, windows = await located(unit, keys)
        for key in keys:
            if positions.share(key).is_suspended:  # it may have spoken meanwhile
                positions.become(positions.share(key).released())
        now = self._clock.now()
        await settled(unit, positions, windows, now)
        await unit.books.note_release(keys, now, note)

    async def _report(self, gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> list[ShareTotal]:
        """Locks only the windows in which something is new."""
        own = await self._own(gateway_id, epoch, reports)
        taken = [await self._take(gateway_id, epoch, part) for part in _parts(news(reports, own), BATCH)]
        if not all(taken):
            own = await self._own(gateway_id, epoch, reports)
        return [
            _total(key_of(report), each, max(each.granted, report.granted))
            for report, each in zip(reports, own, strict=True)
            if each
        ]

    async def _own(self, gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> Sequence[OwnShare | None]:
        async with self._store.transaction() as unit:
            return await own_shares(unit, gateway_id, epoch, [key_of(each) for each in reports])

    async def _take(self, gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> bool:
        """Take totals; whether they all were of shares that the books know and that are not in suspense."""
        async with self._store.transaction() as unit:
            _fence(await unit.books.epoch(gateway_id), epoch)
            is_all = await unit.books.take(gateway_id, epoch, reports) == len(reports)
            if not is_all:
                await self._take_strange(unit, gateway_id, epoch, reports)
        return is_all

    async def _take_strange(self, unit: Unit, gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> None:
        """Totals also of shares that the database forgot, or that are in suspense: their gateway lives."""
        named = {key_of(each) for each in reports}
        await _open_again(unit, named, await unit.books.read(named))
        positions, windows = await located(unit, share_keys(gateway_id, epoch, reports))
        take(positions, gateway_id, epoch, reports)
        await settled(unit, positions, windows, self._clock.now())


def key_of(report: ShareReport) -> WindowKey:
    return report.budget_id, report.window_start


def _total(key: WindowKey, own: OwnShare, granted: int) -> ShareTotal:
    return ShareTotal(budget_id=key[0], window_start=key[1], measure=own.measure, granted=granted)


async def own_shares(
    unit: Unit, gateway_id: str, epoch: int, windows: Sequence[WindowKey]
) -> Sequence[OwnShare | None]:
    """One epoch's share of each window, if there is one. They only grow, so no lock is needed to see what is new."""
    return await unit.books.shares_of_epoch(windows, gateway_id, epoch) if windows else []


def news(reports: Sequence[ShareReport], own: Sequence[OwnShare | None]) -> list[ShareReport]:
    """Those reports that say something the books do not know: also that a gateway lives that was taken for lost."""
    return [report for report, each in zip(reports, own, strict=True) if _is_news(report, each)]


def _is_news(report: ShareReport, own: OwnShare | None) -> bool:
    if own is None:
        return report.granted > 0 or report.returned > 0 or report.overdrawn > 0
    if report.granted > own.granted or report.returned > own.returned or report.overdrawn > own.overdrawn:
        return True
    return own.is_suspended


def take(positions: Positions, gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> None:
    """Move what the reports say, in the windows that there are."""
    for key, report in zip(share_keys(gateway_id, epoch, reports), reports, strict=True):
        if key.window in positions.rooms:
            positions.become(_reported(positions.share(key), report))


def share_keys(gateway_id: str, epoch: int, reports: Sequence[ShareReport]) -> list[ShareKey]:
    return [ShareKey(each.budget_id, each.window_start, gateway_id, epoch) for each in reports]


def _reported(share: Share, report: ShareReport) -> Share:
    """A gateway that speaks is not lost: its share leaves suspense."""
    after = share.reported(granted=report.granted, returned=report.returned, overdrawn=report.overdrawn)
    return after.revived() if after.is_suspended else after


async def _open_again(unit: Unit, keys: Collection[WindowKey], known: Collection[WindowKey]) -> None:
    """Windows that the database forgot, of the budgets that it knows."""
    missing = set(keys) - set(known)
    if missing:
        budgets = await unit.registry.budgets_named({budget_id for budget_id, _ in missing})
        spans = {key: budgets[key[0]].calendar.span(key[1]) for key in missing if key[0] in budgets}
        await unit.books.open({key: span for key, span in spans.items() if span.start == key[1]})


def _fence(newest: int | None, epoch: int) -> None:
    if newest != epoch:
        raise Fenced(f"epoch {epoch} of this gateway is over; its newest is {newest}")


def _changed(known: int, newest: int, changes: Sequence[tuple[int, str]]) -> tuple[str, ...] | None:
    """Accounts to forget; None where not all changes since the last one known are there to be told, or where the one
    known is not: the database was set back, and what it numbers so from now on is something else."""
    if known > newest:
        return None
    if not changes:
        return ()
    if len(changes) > CHANGES_MAX or changes[-1][0] != known + 1:
        return None
    return tuple(dict.fromkeys(account for _, account in changes))


def _parts(items: Iterable[KeyedT], most: int) -> list[list[KeyedT]]:
    """So many at a time, in the order in which windows are locked."""
    ordered = sorted(items, key=lambda each: (each.budget_id.int, each.window_start))
    return [ordered[place : place + most] for place in range(0, len(ordered), most)]
