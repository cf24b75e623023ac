"""The lease API's shell: read, lock, ask `escrow`, store. One transaction a call."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID

from budget import metrics
from budget.accounts.rules import Account, InForce, in_force, principal
from budget.alerts.operations import all_reached, announce_reached, announce_resolved, balances, refused
from budget.budgets.rules import Budget, Window, fresh_window
from budget.budgets.windows import Span
from budget.errors import Fenced
from budget.shares.rules import Ask, Desk, Granted, Obstacle, Room, Short, WindowKey, grant
from budget.shares.silence import Silence
from budget.store import Store, Unit
from budget.store.books import SuspendedShare
from farebox import faults
from farebox.clock import Clock
from farebox.events import Measure
from farebox.leasing import (
    GrantAnswer,
    GrantRequest,
    Heartbeat,
    HeartbeatAnswer,
    Lease,
    Need,
    PathBudget,
    Policy,
    Refusal,
    RefusalCode,
    Share,
    StartAnswer,
    StartRequest,
)
from farebox.money import convert

POLICY_FRESH: Final = timedelta(seconds=20)
"""How long a gateway may go on with a policy nobody told it has changed: a revocation holds everywhere within 30 s."""

SUSPENDED_MAX: Final = 1_000


class Leases:
    """Grants, heartbeats and starts. Raises Fenced, UnknownKey, and Transient when PostgreSQL is away."""

    def __init__(self, store: Store, clock: Clock, wake: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake
        self._silence = Silence()

    async def start(self, request: StartRequest) -> StartAnswer:
        """Begin the gateway's next epoch and close the leases of those before."""
        now = self._clock.now()
        async with self._store.transaction() as unit:
            epoch = await unit.books.start_gateway(request.gateway_id)
            is_whole_story = request.last_epoch == epoch - 1
            old = set(await unit.books.shares_before(request.gateway_id, epoch))
            desk, windows = await _desk(unit, old | {report.lease_id for report in request.reports})
            for report in request.reports:
                desk.report(report)
            unreported = old - {report.lease_id for report in request.reports}
            for lease_id in unreported:
                if is_whole_story:
                    desk.close(lease_id)
                else:
                    desk.suspend(lease_id)
            if not is_whole_story:
                await unit.books.suspend(unreported, now)
            await self._settle(unit, desk, windows)
        self._wake()
        return StartAnswer(epoch=epoch)

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatAnswer:
        """Take the gateway's reports; which leases others need back."""
        async with self._store.transaction() as unit:
            _fence(await unit.books.seen(beat.gateway_id), beat.epoch)
            given_up = await _holding(unit, beat.given_up)
            desk, windows = await _desk(unit, given_up | {report.lease_id for report in beat.reports})
            for report in beat.reports:
                desk.report(report)
            for lease_id in given_up:
                desk.close(lease_id)
            await self._settle(unit, desk, windows)
            recalled = await unit.books.recalled(beat.gateway_id, beat.epoch)
        return HeartbeatAnswer(recalled=recalled)

    async def suspend_lost(self, unheard_for: timedelta) -> int:
        """Count as spent what gateways hold that have been silent for so long; how many leases that were.

        Looks at their signs of life; to be called every `LOOK_EVERY_S`. Nothing becomes free by it: until somebody
        releases it, what a lost node may have spent stays spent.
        """
        async with self._store.transaction() as unit:
            self._silence.look(await unit.books.signs_of_life(), self._clock.monotonic())
            silent = self._silence.of_those_silent_for(unheard_for.total_seconds())
            lost = await unit.books.lost(silent)
            if lost:
                desk, windows = await _desk(unit, lost)
                for lease_id in lost:
                    desk.suspend(lease_id)
                await unit.books.suspend(lost, self._clock.now())
                await self._settle(unit, desk, windows)
        metrics.LEASES_SUSPENDED.inc(len(lost))
        self._wake()
        return len(lost)

    async def release(self, lease_id: UUID, note: str) -> None:
        """An operator's word that a lease in suspense was not spent. Raises NotFound for one that is not there."""
        async with self._store.transaction() as unit:
            await unit.books.note_release(lease_id, self._clock.now(), note)
            desk, windows = await _desk(unit, {lease_id})
            desk.close(lease_id)
            await self._settle(unit, desk, windows)
        self._wake()

    async def suspended(self) -> list[SuspendedShare]:
        """What is in suspense, the oldest first, at most SUSPENDED_MAX shares."""
        async with self._store.transaction() as unit:
            return await unit.books.suspended(SUSPENDED_MAX)

    async def grant(self, request: GrantRequest) -> GrantAnswer:
        """A key's policy, and a lease over every hard budget that its call meets; all of them or none."""
        with metrics.GRANT_SECONDS.time():
            async with self._store.transaction() as unit:
                answer = await self._grant(unit, request)
                faults.point("budget.before_grant_commit")
            faults.point("budget.after_grant_commit")
            if answer.refusal:
                self._wake()
        metrics.GRANTS.labels(_label(answer)).inc()
        return answer

    async def _settle(self, unit: Unit, desk: Desk, windows: Mapping[WindowKey, Window]) -> Mapping[WindowKey, Window]:
        """Write the desk back, and tell of windows whose spending it moved: suspense is spending too.

        The windows as they are then.
        """
        after = {
            key: windows[key] if room == windows[key].room else windows[key].with_room(room)
            for key, room in desk.rooms.items()
        }
        await unit.books.save({key: window for key, window in after.items() if window is not windows[key]})
        await unit.books.save_shares([desk.shares[each] for each in sorted(desk.touched)])
        moved = {key: window for key, window in after.items() if window.room.spent != windows[key].room.spent}
        if not moved:
            return after
        now = self._clock.now()
        budgets = await unit.registry.budgets_named({budget_id for budget_id, _ in moved})
        told = [(budgets[key[0]], window) for key, window in moved.items()]
        for budget, window in told:
            await announce_resolved(unit, budget, window, now)
            await announce_reached(unit, all_reached(budget, window), moved, now)
        await unit.announce(balances(told, now))
        return after

    async def _grant(self, unit: Unit, request: GrantRequest) -> GrantAnswer:
        now = self._clock.now()
        epoch, live = await unit.books.epoch(request.gateway_id)
        _fence(epoch, request.epoch)
        spot = await _spot(unit, request.key_hash, now)
        hard = [budget for budget in spot.budgets if budget.holds and budget.applies_to(request.attributes)]
        await unit.books.open({spot.key(each): spot.span(each) for each in hard if spot.key(each) not in spot.used})
        lease_ids = {request.lease_id, *(report.lease_id for report in request.reports)}
        desk, windows = await _desk(unit, lease_ids, {spot.key(budget) for budget in hard})
        for report in request.reports:
            desk.report(report)
        rooms = [desk.rooms[spot.key(budget)] for budget in hard]
        verdict = await self._verdict(unit, request, spot, rooms, desk, live)
        seen = {**spot.windows(), **await self._settle(unit, desk, windows)}
        policy = _policy(spot, seen)
        match verdict:
            case Short(key, obstacle):
                metrics.REFUSALS.labels(obstacle.value).inc()
                budget = next(each for each in hard if spot.key(each) == key)
                only_suspense = obstacle is Obstacle.SUSPENDED
                await announce_reached(unit, [refused(budget, seen[key], provisional=only_suspense)], seen, now)
                # Where more is gone than leases hold, nothing that they return would help.
                recalling = obstacle is Obstacle.HELD and await unit.books.recall(key, request.gateway_id, now)
                refusal = Refusal(code=_code(budget), budget_id=budget.budget_id, is_recalling=recalling)
                return GrantAnswer(policy=policy, refusal=refusal)
            case Granted(amounts):
                return GrantAnswer(policy=policy, lease=_lease(request.lease_id, amounts, seen, now))
            case unknown:
                assert_never(unknown)

    async def _verdict(
        self, unit: Unit, request: GrantRequest, spot: "_Spot", rooms: Sequence[Room], desk: Desk, live: int
    ) -> Granted | Short:
        """A lease that was granted before is answered as it was; a new one is sized, stored and escrowed."""
        if known := desk.shares_of(request.lease_id):
            return Granted({share.key: share.granted for share in known})
        verdict = grant(rooms, _asks(request, spot.settings), live_gateways=live)
        if isinstance(verdict, Granted) and verdict.amounts:
            key_id, now = spot.path[-1].account_id, self._clock.now()
            is_new = await unit.books.add_lease(
                request.lease_id, request.gateway_id, request.epoch, key_id, verdict.amounts, now
            )
            if not is_new:  # the same request, sent twice, was granted while this one waited for the windows
                shares = (await unit.books.shares([request.lease_id])).get(request.lease_id, {})
                return Granted({share.key: share.granted for share in shares.values()})
            for key, amount in verdict.amounts.items():
                desk.rooms[key] = desk.rooms[key].promised(amount)
        return verdict


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a key stands: its path, what is in force there, and the budgets on it with their present windows.

    `used` are the windows that exist, as they were before anything was locked.
    """

    path: Sequence[Account]
    settings: InForce
    budgets: Sequence[Budget]
    spans: Mapping[UUID, Span]
    used: Mapping[WindowKey, Window]

    def span(self, budget: Budget) -> Span:
        return self.spans[budget.budget_id]

    def key(self, budget: Budget) -> WindowKey:
        return budget.budget_id, self.spans[budget.budget_id].start

    def windows(self) -> dict[WindowKey, Window]:
        """Every budget's, of those never used a fresh one."""
        return {
            self.key(each): self.used.get(self.key(each)) or fresh_window(each, self.span(each))
            for each in self.budgets
        }


async def _spot(unit: Unit, key_hash: str, now: datetime) -> _Spot:
    path = await unit.registry.path_of_key(key_hash)
    by_account = await unit.registry.budgets_of([account.account_id for account in path])
    budgets = [budget for account in path for budget in by_account.get(account.account_id, ()) if budget.is_active]
    spans = {each.budget_id: each.calendar.span(now) for each in budgets}
    used = await unit.books.read([(budget_id, span.start) for budget_id, span in spans.items()])
    return _Spot(path, in_force(path), budgets, spans, used)


async def _desk(
    unit: Unit, lease_ids: Collection[UUID], asked: Collection[WindowKey] = ()
) -> tuple[Desk, dict[WindowKey, Window]]:
    """Lock the windows of the leases and those asked for, all in one order, and lay their shares beside them."""
    unlocked = await unit.books.shares(lease_ids) if lease_ids else {}
    keys = {share.key for shares in unlocked.values() for share in shares.values()} | set(asked)
    windows = await unit.books.lock(keys) if keys else {}
    shares = await unit.books.shares(lease_ids) if unlocked else {}  # again: they hold only under the windows' locks
    return Desk(
        rooms={key: window.room for key, window in windows.items()},
        shares={(lease, budget): share for lease, by in shares.items() for budget, share in by.items()},
    ), windows


async def _holding(unit: Unit, lease_ids: Collection[UUID]) -> set[UUID]:
    """Those of the leases that there are and that hold something."""
    found = await unit.books.shares(lease_ids) if lease_ids else {}
    return {lease_id for lease_id, shares in found.items() if any(share.held for share in shares.values())}


def _fence(newest: int | None, epoch: int) -> None:
    if newest != epoch:
        raise Fenced(f"epoch {epoch} of this gateway is over; its newest is {newest}")


def _asks(request: GrantRequest, settings: InForce) -> dict[Measure, Ask]:
    def money(need: Need) -> int:
        return convert(need.cost_nano_usd, settings.fx_rate)

    least, need, want = request.least, request.need, request.want
    return {
        "money": Ask(money(least), money(need), money(want)),
        "requests": Ask(least.requests, need.requests, want.requests),
        "tokens": Ask(least.tokens, need.tokens, want.tokens),
    }


def _policy(spot: _Spot, windows: Mapping[WindowKey, Window]) -> Policy:
    settings = spot.settings
    return Policy(
        principal=principal(spot.path),
        billing=settings.billing,
        language=settings.language,
        zone=settings.zone,
        clamp=settings.clamp,
        min_output_tokens=settings.min_output_tokens,
        allowed_models=settings.allowed_models,
        blocked_models=settings.blocked_models,
        budgets=tuple(_path_budget(budget, windows[spot.key(budget)]) for budget in spot.budgets),
        fresh_for_ms=int(POLICY_FRESH.total_seconds() * 1000),
    )


def _path_budget(budget: Budget, window: Window) -> PathBudget:
    return PathBudget(
        budget_id=budget.budget_id,
        name=budget.name,
        account=budget.account,
        measure=budget.measure,
        currency=budget.currency,
        mode=budget.mode,
        narrowed_to=budget.narrowed_to,
        limit=window.room.limit,
        spent=window.room.spent,
        held=window.room.escrowed,
        resets_at=window.end,
    )


def _lease(
    lease_id: UUID, amounts: Mapping[WindowKey, int], windows: Mapping[WindowKey, Window], now: datetime
) -> Lease | None:
    """None when no hard budget applies: then there is nothing to hold."""
    if not amounts:
        return None
    ends = [end for key in amounts if (end := windows[key].end) is not None]
    valid_for = (min(ends) - now) if ends else None
    return Lease(
        lease_id=lease_id,
        shares=tuple(
            Share(budget_id=key[0], measure=windows[key].room.measure, granted=amount)
            for key, amount in amounts.items()
        ),
        valid_for_ms=None if valid_for is None else int(valid_for.total_seconds() * 1000),
    )


def _code(budget: Budget) -> RefusalCode:
    if budget.measure != "money":
        return "quota_exceeded"
    return "insufficient_balance" if budget.calendar.kind == "lifetime" else "budget_exceeded"


def _label(answer: GrantAnswer) -> str:
    if answer.refusal:
        return "refused"
    return "granted" if answer.lease else "nothing_to_hold"
