"""From a well-formed call to the right to send it: policy, price, worst case, shares."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from farebox.clock import Clock
from farebox.events import CallAttributes
from farebox.matching import Admitted
from farebox.pricing import Rates, Unpriced
from farebox.shares import Need, Opening, RaiseRefusal
from gateway import metrics
from gateway.admission.bounds import DEFAULT_OUTPUT_TOKENS, Bounds, bounds, limited
from gateway.admission.estimate import (
    Estimate,
    Other,
    Reason,
    affordable,
    clamped,
    covering,
    estimate,
    unexposed,
)
from gateway.admission.permission import barred, unbounded
from gateway.admission.verdict import Refused, Reservation, Short
from gateway.budget_link.questions import Question, Questions, Raise
from gateway.budget_link.standing import Standing
from gateway.dialects.call import Call
from gateway.dialects.tools import SEARCH
from gateway.errors import BudgetAway, Fenced
from gateway.policy.policies import KeyPolicy, Policies
from gateway.policy.prices import Prices
from gateway.shares.amount import Amount
from gateway.shares.shares import MEASURES, Path, Shares
from gateway.upstreams.directory import Upstream
from gateway.vendors.directory import traits_of

_DOLLAR: Final = Decimal(1)

WAIT_S: Final = 10.0
"""How long a call waits for answers: to its own question, and to those of others that left nothing for it."""
RECALL_WAIT_S: Final = 2.5
"""How long a call waits for rights that lie idle elsewhere: their gateways are told within a beat."""
RECALL_PAUSE_S: Final = 0.25


LEAST_OUTPUT_TOKENS: Final = 16
"""The least output of a call whose account's own setting is not known yet."""
PART_OF_LEFT: Final = 4
"""A call that states no limit gets an answer worth at most one in so many parts of what is left."""


class Option(NamedTuple):
    """A model that may answer a call, the most it can use there, and the model's longest answer."""

    model: str
    limits: Bounds
    longest: int | None

    def limited(self, call: Call, default: int, *, clamps: bool) -> Bounds:
        """The most that the call can use with the output limit it gets."""
        return limited(self.limits, call, self.longest, default=default, clamps=clamps)


class Candidate(NamedTuple):
    """A call that is to be admitted: where it would go, under which attributes, and the models that may answer it, the
    one asked for first."""

    call: Call
    upstream: Upstream
    admitted: Admitted
    options: tuple[Option, ...]

    @property
    def may_cut(self) -> bool:
        """Whether its output may be limited in any account, because it states no limit of its own."""
        return self.call.output_limit is None


class Priced(NamedTuple):
    """A call's worst case, at the rates of the dearest model that may answer it, and no less than of the others."""

    rates: Rates
    worst: Estimate
    others: tuple[Other, ...] = ()


class Reservations:
    """Decides in memory where it can; waits for the budget service only for an unknown key or a short window."""

    def __init__(
        self,
        *,
        policies: Policies,
        shares: Shares,
        questions: Questions,
        standing: Standing,
        prices: Prices,
        clock: Clock,
    ) -> None:
        self._policies = policies
        self._shares = shares
        self._questions = questions
        self._standing = standing
        self._prices = prices
        self._clock = clock

    async def key_policy(self, key_hash: str) -> KeyPolicy:
        """A key's policy, without a call. Raises UnknownKey, BudgetAway, Fenced."""
        until = self._clock.monotonic() + WAIT_S
        while self._clock.monotonic() < until:
            if key_policy := self._policies.fresh(key_hash, self._clock.monotonic()):
                return key_policy
            try:
                learnt = await self._questions.obtain(Question(key_hash))
            except BudgetAway:
                if key_policy := self._policies.stale(key_hash, self._clock.monotonic()):
                    return key_policy
                raise
            if learnt is not None:
                return learnt.key_policy
        raise BudgetAway("the key's policy changes faster than it can be read")

    async def make(self, key_hash: str, call: Call, upstream: Upstream) -> Reservation | Refused:
        """Raises UnknownKey, Fenced."""
        candidate = Candidate(call, upstream, _admitted(call, upstream), _options(call, upstream))
        key_policy = self._policies.fresh(key_hash, self._clock.monotonic())
        if key_policy is not None:
            verdict = self._decide(candidate, key_policy, may_clamp=False)
            if not isinstance(verdict, Short):
                self._look_ahead(key_hash, key_policy, verdict)
                return verdict
        return await self._asked(key_hash, key_policy, candidate)

    async def _asked(self, key_hash: str, key_policy: KeyPolicy | None, candidate: Candidate) -> Reservation | Refused:
        """Ask the budget service until the call can be decided."""
        is_away, has_asked = False, False
        began = now = self._clock.monotonic()
        while now < began + WAIT_S:
            short: Short | None = None
            key_policy = self._in_force(key_policy)
            if key_policy is not None:
                verdict = self._decide(candidate, key_policy, may_clamp=has_asked or is_away)
                if not isinstance(verdict, Short):
                    return verdict
                if is_away:
                    return Refused(Reason.BUDGET_UNAVAILABLE, key_policy)
                short = verdict
            question = self._question(key_hash, candidate, short)
            try:
                learnt = await self._questions.obtain(question)
            except BudgetAway as error:
                key_policy, is_away = self._policies.stale(key_hash, self._clock.monotonic()), True
                if key_policy is None:
                    return Refused(Reason.BUDGET_UNAVAILABLE, detail=str(error))
                continue  # one more look, at what is in hand
            if learnt is None:
                key_policy = self._policies.fresh(key_hash, self._clock.monotonic())
            elif learnt.refusal and learnt.refusal.is_recalling and now < began + RECALL_WAIT_S:
                key_policy = learnt.key_policy
                await asyncio.sleep(RECALL_PAUSE_S)
            elif learnt.refusal is not None and (
                refused := self._refused(candidate, learnt.key_policy, learnt.refusal, question, short)
            ):
                metrics.BUDGET_REFUSALS.labels("recalled" if learnt.refusal.is_recalling else "none").inc()
                return refused
            else:
                key_policy, has_asked = learnt.key_policy, bool(question.raises)
            now = self._clock.monotonic()
        return Refused(Reason.BUDGET_UNAVAILABLE, key_policy, detail="too many others ask for the same budgets")

    def _in_force(self, key_policy: KeyPolicy | None) -> KeyPolicy | None:
        """None for a policy that was changed while its answer was on the way."""
        return None if key_policy is None or self._policies.is_superseded(key_policy) else key_policy

    def _decide(self, candidate: Candidate, key_policy: KeyPolicy, *, may_clamp: bool) -> Reservation | Refused | Short:
        """From what is known and in hand. A call is cut only once it is known that no more is to be had.

        Raises Fenced: from the instant that is known, nothing is admitted, under soft budgets neither.
        """
        if self._standing.is_fenced:
            raise Fenced("a newer process has claimed this gateway's name")
        at = self._clock.now()
        if refused := self._barred(candidate, key_policy, at):
            return refused
        path = key_policy.path(candidate.admitted)
        is_held = key_policy.holds_cost(candidate.admitted)
        priced = self._priced(candidate, key_policy, at, is_held=is_held)
        if isinstance(priced, Refused):
            return priced
        free = self._free(candidate, key_policy, priced, at)
        if not path:
            return free
        if is_held and candidate.may_cut:
            free = free._replace(estimate=self._affordable(candidate, key_policy, priced))
        may_cut = is_held and (key_policy.settings.clamp or candidate.may_cut)
        verdict = self._held(free, priced, path, may_cut=may_cut, may_clamp=may_clamp)
        return _limited(verdict) if is_held and isinstance(verdict, Reservation) else verdict

    def _priced(self, candidate: Candidate, key_policy: KeyPolicy, at: datetime, *, is_held: bool) -> Priced | Refused:
        """The worst case over the models that may answer. Refused where one has no price, or no bound where it is held.

        What has to hold nothing is estimated as its text, where the whole has no price.
        """
        found: list[Priced] = []
        settings = key_policy.settings
        for option in candidate.options:
            limits = option.limits
            rates = self._prices.rates(candidate.upstream.provider, option.model, at, key_policy.who.org)
            if rates is None:
                return self._unpriced(candidate, option, key_policy, "")
            if is_held:
                if refused := unbounded(limits, option.model, candidate.upstream, key_policy):
                    return refused
                limits = option.limited(candidate.call, settings.default_output_tokens, clamps=settings.clamp)
            worst = estimate(rates, settings.fx_rate, limits)
            if isinstance(worst, Unpriced) and not is_held:
                worst = estimate(rates, settings.fx_rate, unexposed(limits))
            if isinstance(worst, Unpriced):
                return self._unpriced(candidate, option, key_policy, worst.detail)
            found.append(Priced(rates, worst))
        return _dearest(found, settings.fx_rate)

    def _unpriced(self, candidate: Candidate, option: Option, key_policy: KeyPolicy, detail: str) -> Refused:
        self._prices.unpriced.note(candidate.upstream.provider, option.model, detail)
        return Refused(Reason.MODEL_NOT_PRICED, key_policy, detail=detail, model=option.model)

    def _free(self, candidate: Candidate, key_policy: KeyPolicy, priced: Priced, at: datetime) -> Reservation:
        """The right to send a call that holds nothing. Its words stand, unless its dialect demands a limit."""
        call, upstream, admitted, _ = candidate
        own = (
            self._prices.rates(upstream.provider, call.model, at, key_policy.who.org)
            if call.candidates
            else priced.rates
        )
        limit = None
        if call.dialect == "anthropic" and call.output_limit is None:
            limit = min(priced.worst.bounds.output, key_policy.settings.default_output_tokens)
        return Reservation(call, upstream, admitted, key_policy, own or priced.rates, priced.worst, None, at, limit)

    def _held(
        self, free: Reservation, priced: Priced, path: Path, *, may_cut: bool, may_clamp: bool
    ) -> Reservation | Refused | Short:
        """The same with its worst case held on the path, or as much of it as there is room for."""
        worst, settings, now = free.estimate, free.key_policy.settings, self._clock.monotonic()
        if self._standing.is_silent(now):
            why = "the budget service has been silent for too long"
            return Refused(Reason.BUDGET_UNAVAILABLE, free.key_policy, detail=why)
        if hold := self._shares.reserve(path, worst.amount, now):
            return free._replace(hold=hold)
        if not may_cut:
            return Short(path, worst, worst)
        fewest = settings.min_output_tokens
        if may_clamp:
            room = self._shares.room(path)
            smaller = clamped(priced.rates, settings.fx_rate, worst.bounds, room, fewest, priced.others)
            if smaller and (hold := self._shares.reserve(path, smaller.amount, now)):
                return free._replace(estimate=smaller, hold=hold)
        return Short(path, worst, _least(priced._replace(worst=worst), settings.fx_rate, fewest) or worst)

    def _affordable(self, candidate: Candidate, key_policy: KeyPolicy, priced: Priced) -> Estimate:
        """The worst case of a call that states no limit, in view of what is left."""
        rates, worst, others = priced
        settings = key_policy.settings
        part = self._part_of_left(key_policy, candidate.admitted)
        return affordable(rates, settings.fx_rate, worst, part, settings.min_output_tokens, others)

    def _part_of_left(self, key_policy: KeyPolicy, admitted: Admitted) -> Amount:
        """What of the hard budgets' remainders one answer may take that nobody limited."""
        left = [1 << 62] * len(MEASURES)
        for budget in key_policy.budgets:
            if budget.is_hard and budget.applies(admitted):
                measure = budget.window.measure
                rest = max(0, budget.left) + self._shares.room((budget.window,))[measure]
                left[measure] = min(left[measure], rest // PART_OF_LEFT)
        money, _, tokens = left
        return Amount(money, 1 << 62, tokens)

    def _question(self, key_hash: str, candidate: Candidate, short: Short | None) -> Question:
        """What to ask. Without a policy the bill's currency is unknown, and so is whether the call may be cut."""
        if short is None:
            return Question(key_hash, opening=self._opening(candidate))
        now = self._clock.monotonic()
        if any(window.ends_at is not None and window.ends_at <= now for window in short.path):
            return Question(key_hash)  # the policy says which windows are present now
        need, least = short.need.amount, short.least.amount
        windows = self._shares.short(short.path, need)
        return Question(
            key_hash, raises=tuple(Raise(each, least[each.measure], need[each.measure]) for each in windows)
        )

    def _barred(self, candidate: Candidate, key_policy: KeyPolicy, at: datetime) -> Refused | None:
        """Why no amount of money would let the call pass."""
        call, upstream, admitted, _ = candidate
        if refused := barred(call, upstream, admitted, key_policy):
            return refused
        if (fault := self._prices.fault(at)) and (self._prices.are_ahead_of(at) or key_policy.holds_money(admitted)):
            return Refused(Reason.PRICES_OUTDATED, key_policy, detail=fault)
        return None

    def _refused(
        self,
        candidate: Candidate,
        key_policy: KeyPolicy,
        refusal: RaiseRefusal,
        question: Question,
        short: Short | None,
    ) -> Refused | None:
        """None if it is worth asking for less, now that it is known that the call may be cut."""
        if question.opening is not None and (key_policy.settings.clamp or candidate.may_cut):
            return None
        budget = next((each for each in key_policy.budgets if each.id == refusal.budget_id), None)
        if budget is None:
            return Refused(Reason(refusal.code), key_policy)
        measure = budget.window.measure
        least = short.least if short is not None else self._worst(candidate, key_policy)
        return Refused(
            Reason(refusal.code),
            key_policy,
            budget,
            in_hand=self._shares.room((budget.window,))[measure],
            required=least.amount[measure] if least is not None else None,
        )

    def _worst(self, candidate: Candidate, key_policy: KeyPolicy) -> Estimate | None:
        priced = self._priced(candidate, key_policy, self._clock.now(), is_held=True)
        return None if isinstance(priced, Refused) else priced.worst

    def _opening(self, candidate: Candidate) -> Opening | None:
        """What to hold for a key whose policy is not known yet. Least is what the call can do with in any account."""
        call, upstream, admitted, options = candidate
        at = self._clock.now()
        found: list[Priced] = []
        for option in options:
            rates = self._prices.rates(upstream.provider, option.model, at, None)
            limits = option.limited(call, DEFAULT_OUTPUT_TOKENS, clamps=False)
            worst = estimate(rates, _DOLLAR, limits) if rates is not None else None
            if rates is None or worst is None or isinstance(worst, Unpriced):
                return None
            found.append(Priced(rates, worst))
        priced = _dearest(found, _DOLLAR)
        worst = priced.worst
        least = _least(priced, _DOLLAR, LEAST_OUTPUT_TOKENS) if candidate.may_cut else None
        return Opening(attributes=CallAttributes(**admitted._asdict()), least=_need(least or worst), need=_need(worst))

    def _look_ahead(self, key_hash: str, key_policy: KeyPolicy, verdict: Reservation | Refused) -> None:
        """Ask for a fresh policy before it is stale, and for more of a window before its share is empty."""
        now = self._clock.monotonic()
        if isinstance(verdict, Reservation) and verdict.hold is not None:
            low = self._shares.low(verdict.hold, now)
            if low:
                need = verdict.estimate.amount
                self._questions.renew(
                    Question(key_hash, raises=tuple(Raise(each, 0, need[each.measure]) for each in low))
                )
        if now >= key_policy.refresh_at:
            key_policy.refresh_at = now + 1.0
            self._questions.renew(Question(key_hash))


def _least(priced: Priced, fx_rate: Decimal, min_output_tokens: int) -> Estimate | None:
    """The least that a call can do with: its input, and a few tokens of output."""
    limits = priced.worst.bounds
    found = estimate(priced.rates, fx_rate, limits._replace(output=min(min_output_tokens, limits.output)))
    return None if isinstance(found, Unpriced) else covering(found, fx_rate, priced.others)


def _dearest(found: Sequence[Priced], fx_rate: Decimal) -> Priced:
    first = max(found, key=_cost)
    if len(found) == 1:
        return first
    others = tuple(Other(each.rates, each.worst.bounds) for each in found if each is not first)
    return Priced(first.rates, covering(first.worst, fx_rate, others), others)


def _options(call: Call, upstream: Upstream) -> tuple[Option, ...]:
    return tuple(_option(call, upstream, model) for model in (call.model, *call.candidates))


def _option(call: Call, upstream: Upstream, model: str) -> Option:
    capacity = upstream.capacity(model)
    limits = bounds(call, model, traits_of(upstream.provider, model), capacity)
    return Option(model, limits, capacity.output or capacity.context)


def _need(worst: Estimate) -> Need:
    return worst.amount.need(worst.cost_nano_usd)


def _cost(priced: Priced) -> int:
    return priced.worst.cost_nano_usd


def _limited(held: Reservation) -> Reservation:
    """Sent in a way that the provider cannot bill more than is held: within the limits, and at the standard tier."""
    call, output = held.call, held.estimate.bounds.output
    vendor = traits_of(held.upstream.provider, call.model).vendor
    search = vendor.server_tools.get(SEARCH) if call.tools.search_is_open else None
    moves = not vendor.takes_either_limit and not call.states_limit(held.upstream.limit_field(call.model))
    return held._replace(
        output_limit=None if output == call.output_limit and not moves else output,
        service_tier=vendor.standard_tier if call.service_tier is None else None,
        search_uses=None if search is None or held.upstream.lets_through(f"tools:{SEARCH}") else search.uses,
        moves_limit=moves,
    )


def _admitted(call: Call, upstream: Upstream) -> Admitted:
    what_for = call.attribution
    return Admitted(upstream.name, upstream.provider, call.model, what_for.feature, what_for.session)
