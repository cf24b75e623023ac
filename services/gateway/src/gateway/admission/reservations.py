"""From a well-formed call to the right to send it: policy, price, worst case, shares."""

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from farebox.clock import Clock
from farebox.events import CallAttributes
from farebox.matching import Admitted, is_allowed
from farebox.pricing import Rates, Unpriced
from farebox.shares import Opening, RaiseRefusal
from gateway import metrics
from gateway.admission.estimate import Bounds, Estimate, Reason, bounds, clamped, estimate, tightened
from gateway.admission.verdict import Refused, Reservation, Short
from gateway.budget_link.questions import Question, Questions, Raise
from gateway.budget_link.standing import Standing
from gateway.dialects.call import Call
from gateway.errors import BudgetAway, Fenced
from gateway.policy.policies import KeyPolicy, Policies
from gateway.policy.prices import Prices
from gateway.shares.shares import Path, Shares
from gateway.upstreams.directory import Upstream

_DOLLAR: Final = Decimal(1)

WAIT_S: Final = 10.0
"""How long a call waits for answers: to its own question, and to those of others that left nothing for it."""
RECALL_WAIT_S: Final = 2.5
"""How long a call waits for rights that lie idle elsewhere: their gateways are told within a beat."""
RECALL_PAUSE_S: Final = 0.25


class Candidate(NamedTuple):
    """A call that is to be admitted: where it would go, under which attributes, and the most it can use."""

    call: Call
    upstream: Upstream
    admitted: Admitted
    limits: Bounds


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
        max_tokens_default: int,
        media_tokens: int,
    ) -> None:
        self._policies = policies
        self._shares = shares
        self._questions = questions
        self._standing = standing
        self._prices = prices
        self._clock = clock
        self._max_tokens_default = max_tokens_default
        self._media_tokens = media_tokens

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
        limits = bounds(call, max_tokens_default=self._max_tokens_default, media_tokens=self._media_tokens)
        candidate = Candidate(call, upstream, _admitted(call, upstream), limits)
        key_policy = self._policies.fresh(key_hash, self._clock.monotonic())
        if key_policy is not None:
            verdict = self._decide(candidate, key_policy, may_clamp=False)
            if not isinstance(verdict, Short):
                self._look_ahead(key_hash, key_policy, verdict)
                return verdict
        return await self._asked(key_hash, key_policy, candidate._replace(limits=tightened(limits, call)))

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
            elif learnt.refusal is not None and (refused := self._refused(learnt.key_policy, learnt.refusal, question)):
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
        call, upstream, admitted, limits = candidate
        settings = key_policy.settings
        at = self._clock.now()
        if barred := self._barred(candidate, key_policy, at):
            return barred
        rates = self._prices.rates(upstream.provider, call.model, at, key_policy.who.org)
        worst = estimate(rates, settings.fx_rate, limits) if rates is not None else None
        if rates is None or worst is None or isinstance(worst, Unpriced):
            return Refused(
                Reason.MODEL_NOT_PRICED, key_policy, detail=worst.detail if isinstance(worst, Unpriced) else ""
            )
        free = Reservation(call, upstream, admitted, key_policy, rates, worst, None, at)
        path = key_policy.path(admitted)
        return self._held(free, path, may_clamp=may_clamp) if path else free

    def _held(self, free: Reservation, path: Path, *, may_clamp: bool) -> Reservation | Refused | Short:
        """The same with its worst case held on the path, or as much of it as there is room for."""
        worst, settings, now = free.estimate, free.key_policy.settings, self._clock.monotonic()
        if self._standing.is_silent(now):
            why = "the budget service has been silent for too long"
            return Refused(Reason.BUDGET_UNAVAILABLE, free.key_policy, detail=why)
        if hold := self._shares.reserve(path, worst.amount, now):
            return free._replace(hold=hold)
        if not settings.clamp:
            return Short(path, worst, worst)
        if may_clamp:
            room, fewest = self._shares.room(path), settings.min_output_tokens
            smaller = clamped(free.rates, settings.fx_rate, worst.bounds, room, fewest)
            if smaller and (hold := self._shares.reserve(path, smaller.amount, now)):
                return free._replace(estimate=smaller, hold=hold)
        return Short(
            path, worst, _least(free.rates, settings.fx_rate, worst.bounds, settings.min_output_tokens) or worst
        )

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
        if not is_allowed(
            upstream.provider, call.model, key_policy.settings.allowed_models, key_policy.settings.blocked_models
        ):
            return Refused(Reason.MODEL_NOT_ALLOWED, key_policy)
        if (fault := self._prices.fault(at)) and (self._prices.are_ahead_of(at) or key_policy.holds_money(admitted)):
            return Refused(Reason.PRICES_OUTDATED, key_policy, detail=fault)
        return None

    def _refused(self, key_policy: KeyPolicy, refusal: RaiseRefusal, question: Question) -> Refused | None:
        """None if it is worth asking for less, now that it is known that the account allows that."""
        if question.opening is not None and key_policy.settings.clamp:
            return None
        budget = next((each for each in key_policy.budgets if each.id == refusal.budget_id), None)
        in_hand = self._shares.room((budget.window,))[budget.window.measure] if budget else 0
        return Refused(Reason(refusal.code), key_policy, budget, in_hand=in_hand)

    def _opening(self, candidate: Candidate) -> Opening | None:
        call, upstream, admitted, limits = candidate
        rates = self._prices.rates(upstream.provider, call.model, self._clock.now(), None)
        worst = estimate(rates, _DOLLAR, limits) if rates is not None else None
        if worst is None or isinstance(worst, Unpriced):
            return None
        need = worst.amount.need(worst.cost_nano_usd)
        return Opening(attributes=CallAttributes(**admitted._asdict()), least=need, need=need)

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


def _least(rates: Rates, fx_rate: Decimal, limits: Bounds, min_output_tokens: int) -> Estimate | None:
    """The least that a call can do with: its input, and a few tokens of output."""
    found = estimate(rates, fx_rate, limits._replace(output=min(min_output_tokens, limits.output)))
    return None if isinstance(found, Unpriced) else found


def _admitted(call: Call, upstream: Upstream) -> Admitted:
    what_for = call.attribution
    return Admitted(upstream.name, upstream.provider, call.model, what_for.feature, what_for.session)
