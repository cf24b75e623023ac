"""Raises: what gateways ask for, answered all at once. One transaction for all asks that came together."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID

from budget import metrics
from budget.accounts.rules import Account, InForce, in_force, principal
from budget.alerts.operations import announce_reached, refused
from budget.budgets.rules import Budget, Window, fresh_window
from budget.budgets.windows import Span
from budget.errors import Fenced
from budget.shares.operations import key_of, news, own_shares, take
from budget.shares.positions import settled
from budget.shares.rules import Obstacle, Positions, Raised, ShareKey, Short, Wanted, WindowKey, raise_all
from budget.unit import Store, Unit
from farebox import faults
from farebox.clock import Clock
from farebox.matching import Admitted
from farebox.money import convert
from farebox.shares import (
    Answer,
    Ask,
    Attributes,
    Need,
    Opening,
    PathBudget,
    Policy,
    RaiseAnswer,
    RaiseRefusal,
    RaiseRequest,
    RefusalCode,
    ShareTotal,
)

POLICY_FRESH: Final = timedelta(seconds=20)
"""How long a gateway may go on with a policy nobody told it has changed: a revocation holds everywhere within 30 s."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key stands: its path, what is in force there, and the budgets on it with their present windows."""

    path: Sequence[Account]
    settings: InForce
    budgets: Sequence[Budget]
    spans: Mapping[UUID, Span]

    def key(self, budget: Budget) -> WindowKey:
        return budget.budget_id, self.spans[budget.budget_id].start

    def hard(self) -> dict[WindowKey, Budget]:
        """By window, platform first."""
        return {self.key(budget): budget for budget in self.budgets if budget.holds}


@dataclass(frozen=True, slots=True)
class Demand:
    """One ask, with what it wants of which windows (platform first) and what it is told the totals of."""

    ask: Ask
    place: Place
    wanted: Mapping[WindowKey, Wanted]
    told: Collection[WindowKey]


class Raises:
    """Policies, and raises of shares. Raises Fenced, and Transient when PostgreSQL is away."""

    def __init__(self, store: Store, clock: Clock, wake: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake

    async def answer(self, request: RaiseRequest) -> RaiseAnswer:
        """An answer to every ask: the key's policy, and raises of all the windows it names or of none."""
        with metrics.RAISE_SECONDS.time():
            async with self._store.transaction() as unit:
                answers = await self._answers(unit, request)
                faults.point("budget.before_raise_commit")
            faults.point("budget.after_raise_commit")
        if any(answer.refusal for answer in answers):
            self._wake()
        for answer in answers:
            metrics.RAISES.labels(_label(answer)).inc()
        return RaiseAnswer(answers=tuple(answers))

    async def _answers(self, unit: Unit, request: RaiseRequest) -> list[Answer]:
        now = self._clock.now()
        newest = await unit.books.epoch(request.gateway_id)
        if newest != request.epoch:
            raise Fenced(f"epoch {request.epoch} of this gateway is over; its newest is {newest}")
        places = await _places(unit, {ask.key_hash for ask in request.asks}, now)
        used = await unit.books.read({place.key(budget) for place in places.values() for budget in place.budgets})
        own = await _own_shares(unit, request, places)
        demands = [_demand(ask, places[ask.key_hash], own) for ask in request.asks if ask.key_hash in places]
        spans = {key: demand.place.spans[key[0]] for demand in demands for key in demand.wanted}
        await unit.books.open({key: span for key, span in spans.items() if key not in used})
        verdicts, windows, totals = await self._raise(unit, request, demands, now)
        seen = _seen(places.values(), {**used, **windows})
        own.update(totals)
        refusals = await self._refuse(unit, request.gateway_id, demands, verdicts, seen, now)
        told = iter(_answer(demand, refusal, seen, own, now) for demand, refusal in zip(demands, refusals, strict=True))
        return [next(told) if ask.key_hash in places else Answer(policy=None) for ask in request.asks]

    async def _raise(
        self, unit: Unit, request: RaiseRequest, demands: Sequence[Demand], now: datetime
    ) -> tuple[list[Raised | Short], Mapping[WindowKey, Window], dict[WindowKey, int]]:
        """Size every demand in turn under the windows' locks; the windows then, and the totals of their shares."""
        wanted = {key for demand in demands for key in demand.wanted}
        told = [key_of(each) for each in request.reports]
        reports = news(request.reports, await own_shares(unit, request.gateway_id, request.epoch, told))
        if not wanted and not reports:
            return [Raised({}) for _ in demands], {}, {}
        found = await unit.books.lock(wanted | {key_of(each) for each in reports})
        shares = await unit.books.shares(found, request.gateway_id, request.epoch)
        positions = Positions({key: each.room for key, each in found.items()}, {each.key: each for each in shares})
        take(positions, request.gateway_id, request.epoch, reports)
        holders = positions.holders(request.gateway_id)
        verdicts = [_verdict(demand, positions, holders, request) for demand in demands]
        windows = await settled(unit, positions, found, now)
        mine = {
            share.key.window: share.granted
            for share in positions.shares.values()
            if (share.key.gateway_id, share.key.epoch) == (request.gateway_id, request.epoch)
        }
        return verdicts, windows, mine

    async def _refuse(
        self,
        unit: Unit,
        gateway_id: str,
        demands: Sequence[Demand],
        verdicts: Sequence[Raised | Short],
        seen: Mapping[WindowKey, Window],
        now: datetime,
    ) -> list[RaiseRefusal | None]:
        """Tell of what is exhausted, and ask other gateways for what may lie idle, once for each window."""
        recalling: dict[WindowKey, bool] = {}
        refusals: list[RaiseRefusal | None] = []
        for demand, verdict in zip(demands, verdicts, strict=True):
            match verdict:
                case Raised():
                    refusals.append(None)
                case Short(key, obstacle):
                    metrics.REFUSALS.labels(obstacle.value).inc()
                    budget = demand.place.hard()[key]
                    if key not in recalling:
                        exhausted = refused(budget, seen[key], provisional=obstacle is Obstacle.SUSPENDED)
                        await announce_reached(unit, [exhausted], seen, now)
                        # Where more is gone than shares hold, nothing that they return would help.
                        recalling[key] = obstacle is Obstacle.HELD and await unit.books.recall(key, gateway_id, now)
                    refusals.append(
                        RaiseRefusal(code=_code(budget), budget_id=budget.budget_id, is_recalling=recalling[key])
                    )
                case unknown:
                    assert_never(unknown)
        return refusals


async def _places(unit: Unit, key_hashes: Collection[str], now: datetime) -> dict[str, Place]:
    """Of the keys that are in force."""
    paths = await unit.registry.paths_of_keys(key_hashes)
    accounts = {account.account_id for path in paths.values() for account in path}
    by_account = await unit.registry.budgets_of(accounts)
    spans = {
        budget.budget_id: budget.calendar.span(now)
        for budgets in by_account.values()
        for budget in budgets
        if budget.is_active
    }
    return {
        key_hash: Place(
            path,
            in_force(path),
            [each for account in path for each in by_account.get(account.account_id, ()) if each.is_active],
            spans,
        )
        for key_hash, path in paths.items()
    }


async def _own_shares(unit: Unit, request: RaiseRequest, places: Mapping[str, Place]) -> dict[WindowKey, int]:
    """What this epoch was granted of the windows that openings meet. Not locked: it never shrinks."""
    openings = [ask for ask in request.asks if ask.opening and ask.key_hash in places]
    keys = list({key for ask in openings for key in places[ask.key_hash].hard()})
    own = await own_shares(unit, request.gateway_id, request.epoch, keys)
    return {key: each.granted for key, each in zip(keys, own, strict=True) if each}


def _demand(ask: Ask, place: Place, own: Mapping[WindowKey, int]) -> Demand:
    """Raises are of present windows alone: for others the policy in the answer says what is present now."""
    hard = place.hard()
    if ask.opening is not None:
        call = _admitted(ask.opening)
        met = {key: budget for key, budget in hard.items() if budget.applies_to(call)}
        wanted = {key: _opened(ask.opening, budget, place) for key, budget in met.items() if key not in own}
        return Demand(ask, place, wanted, list(met))
    asked = {(each.budget_id, each.window_start): each for each in ask.windows}
    if not asked.keys() <= hard.keys():
        return Demand(ask, place, {}, ())
    totals = {key: asked[key] for key in hard if key in asked}
    return Demand(ask, place, {key: Wanted(t.least, t.need, t.want) for key, t in totals.items()}, list(totals))


def _opened(opening: Opening, budget: Budget, place: Place) -> Wanted:
    least, need = (_in_measure(each, budget, place) for each in (opening.least, opening.need))
    return Wanted(least, need, need)


def _in_measure(need: Need, budget: Budget, place: Place) -> int:
    match budget.measure:
        case "money":
            return convert(need.cost_nano_usd, place.settings.fx_rate)
        case "requests":
            return need.requests
        case "tokens":
            return need.tokens


def _admitted(opening: Opening) -> Admitted:
    call = opening.attributes
    return Admitted(call.upstream, call.provider, call.model, call.feature, call.session)


def _verdict(
    demand: Demand, positions: Positions, holders: Mapping[WindowKey, int], request: RaiseRequest
) -> Raised | Short:
    """Totals become amounts: what is there already is not asked for again."""
    keys = {key: ShareKey(*key, request.gateway_id, request.epoch) for key in demand.wanted}
    wanted = {}
    for key, share_key in keys.items():
        have, totals = positions.share(share_key).granted, demand.wanted[key]
        wanted[key] = Wanted(*(max(0, total - have) for total in (totals.least, totals.need, totals.want)))
    verdict = raise_all([positions.rooms[key] for key in keys], wanted, holders)
    if isinstance(verdict, Raised):
        for key, more in verdict.more.items():
            positions.raised(keys[key], more)
    return verdict


def _seen(places: Iterable[Place], windows: Mapping[WindowKey, Window]) -> dict[WindowKey, Window]:
    """Every window that policies tell of: as it is, or fresh where it was never used."""
    seen = dict(windows)
    for place in places:
        for budget in place.budgets:
            if (key := place.key(budget)) not in seen:
                seen[key] = fresh_window(budget, place.spans[budget.budget_id])
    return seen


def _answer(
    demand: Demand,
    refusal: RaiseRefusal | None,
    windows: Mapping[WindowKey, Window],
    granted: Mapping[WindowKey, int],
    now: datetime,
) -> Answer:
    totals = tuple(
        ShareTotal(
            budget_id=key[0], window_start=key[1], measure=windows[key].room.measure, granted=granted.get(key, 0)
        )
        for key in demand.told
    )
    return Answer(policy=_policy(demand.place, windows, now), shares=totals, refusal=refusal)


def _policy(place: Place, windows: Mapping[WindowKey, Window], now: datetime) -> Policy:
    settings = place.settings
    return Policy(
        principal=principal(place.path),
        billing=settings.billing,
        language=settings.language,
        zone=settings.zone,
        clamp=settings.clamp,
        min_output_tokens=settings.min_output_tokens,
        default_output_tokens=settings.default_output_tokens,
        allowed_models=settings.allowed_models,
        blocked_models=settings.blocked_models,
        budgets=tuple(_path_budget(budget, windows[place.key(budget)], now) for budget in place.budgets),
        fresh_for_ms=int(POLICY_FRESH.total_seconds() * 1000),
    )


def _path_budget(budget: Budget, window: Window, now: datetime) -> PathBudget:
    room = window.room
    return PathBudget(
        budget_id=budget.budget_id,
        name=budget.name,
        account=budget.account,
        measure=budget.measure,
        currency=budget.currency,
        mode=budget.mode,
        narrowed_to=Attributes(**budget.narrowed_to._asdict()),
        limit=room.limit,
        spent=room.spent,
        held=room.escrowed,
        uncertain=room.uncertain,
        window_start=room.key[1],
        resets_at=window.end,
        ends_in_ms=None if window.end is None else max(0, int((window.end - now).total_seconds() * 1000)),
    )


def _code(budget: Budget) -> RefusalCode:
    if budget.measure != "money":
        return "quota_exceeded"
    return "insufficient_balance" if budget.calendar.kind == "lifetime" else "budget_exceeded"


def _label(answer: Answer) -> str:
    if answer.policy is None:
        return "unknown_key"
    if answer.refusal:
        return "refused"
    return "raised" if answer.shares else "nothing_to_hold"
