"""From a well-formed call to the right to send it: policy, price, worst case, lease."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from farebox.clock import Clock
from farebox.leasing import Refusal
from farebox.pricing import Rates, Unpriced
from gateway import metrics
from gateway.admission.estimate import Bounds, Estimate, Reason, bounds, clamped, estimate, is_allowed, tightened
from gateway.budget_link.client import Ask, LeaseClient
from gateway.dialects.call import Call
from gateway.errors import BudgetAway
from gateway.policy.policies import Budget, Known, Narrowing, Policies
from gateway.policy.prices import Prices
from gateway.shares.leases import Hold, Leases
from gateway.upstreams.directory import Upstream

_DOLLAR: Final = Decimal(1)

WAIT_S: Final = 10.0
"""How long a call waits for answers: to its own question, and to those of others that left nothing for it."""
RECALL_WAIT_S: Final = 2.5
"""How long a call waits for rights that lie idle elsewhere: their gateways are told within a heartbeat."""
RECALL_PAUSE_S: Final = 0.25


class Reservation(NamedTuple):
    """The right to send a call once. `hold` is None where no hard budget applies; `at` chooses the price."""

    call: Call
    upstream: Upstream
    known: Known
    rates: Rates
    estimate: Estimate
    hold: Hold | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not. `budget` is the one that is short; `known` is None where the key's policy could not be had."""

    reason: Reason
    known: Known | None = None
    budget: Budget | None = None
    detail: str = ""


class Reservations:
    """Decides in memory where it can; waits for the budget service only for an unknown key or an empty lease."""

    def __init__(
        self,
        *,
        policies: Policies,
        leases: Leases,
        client: LeaseClient,
        prices: Prices,
        clock: Clock,
        max_tokens_default: int,
        media_tokens: int,
    ) -> None:
        self._policies = policies
        self._leases = leases
        self._client = client
        self._prices = prices
        self._clock = clock
        self._max_tokens_default = max_tokens_default
        self._media_tokens = media_tokens

    async def known(self, key_hash: str) -> Known:
        """A key's policy, without a call. Raises UnknownKey, BudgetAway, Fenced."""
        until = self._clock.monotonic() + WAIT_S
        while self._clock.monotonic() < until:
            if known := self._policies.fresh(key_hash, self._clock.monotonic()):
                return known
            try:
                answer = await self._client.obtain(_question(key_hash))
            except BudgetAway:
                if known := self._policies.stale(key_hash, self._clock.monotonic()):
                    return known
                raise
            if answer is not None:
                return answer.known
        raise BudgetAway("the key's policy changes faster than it can be read")

    async def make(self, key_hash: str, call: Call, upstream: Upstream) -> Reservation | Refused:
        """Raises UnknownKey, Fenced, JournalFull."""
        limits = bounds(call, max_tokens_default=self._max_tokens_default, media_tokens=self._media_tokens)
        attributes = _attributes(call, upstream)
        known = self._policies.fresh(key_hash, self._clock.monotonic())
        if known is not None:
            verdict = self._decide(call, upstream, known, limits, attributes, may_clamp=False)
            if not isinstance(verdict, _Short):
                self._look_ahead(key_hash, known, attributes, verdict)
                return verdict
        return await self._asked(key_hash, known, call, upstream, tightened(limits, call), attributes)

    async def _asked(
        self,
        key_hash: str,
        known: Known | None,
        call: Call,
        upstream: Upstream,
        limits: Bounds,
        attributes: Narrowing,
    ) -> Reservation | Refused:
        """Ask the budget service until the call can be decided."""
        is_away, has_asked = False, False
        began = now = self._clock.monotonic()
        while now < began + WAIT_S:
            if known is not None:
                may_clamp = has_asked or is_away
                verdict = self._decide(call, upstream, known, limits, attributes, may_clamp=may_clamp)
                if not isinstance(verdict, _Short):
                    return verdict
                if is_away:
                    return Refused(Reason.BUDGET_UNAVAILABLE, known)
            ask = self._ask(key_hash, known, self._rates(call, upstream, known), limits, attributes)
            try:
                answer = await self._client.obtain(ask)
            except BudgetAway as error:
                known, is_away = self._policies.stale(key_hash, self._clock.monotonic()), True
                if known is None:
                    return Refused(Reason.BUDGET_UNAVAILABLE, detail=str(error))
                continue  # one more look, at what is in hand
            if answer is None:
                known = self._policies.fresh(key_hash, self._clock.monotonic())
            elif answer.refusal and answer.refusal.is_recalling and now < began + RECALL_WAIT_S:
                known = answer.known
                await asyncio.sleep(RECALL_PAUSE_S)
            elif answer.refusal is not None and (refused := self._refused(answer.known, answer.refusal, ask)):
                metrics.BUDGET_REFUSALS.labels("recalled" if answer.refusal.is_recalling else "none").inc()
                return refused
            else:
                known, has_asked = answer.known, ask.need is not None
            now = self._clock.monotonic()
        return Refused(Reason.BUDGET_UNAVAILABLE, known, detail="too many others ask for the same budgets")

    def _rates(self, call: Call, upstream: Upstream, known: Known | None) -> Rates | None:
        """What the call is priced at now; for an account whose prices are its own, once it is known."""
        org = known.who.org if known else None
        return self._prices.rates(upstream.provider, call.model, self._clock.now(), org)

    def _decide(
        self,
        call: Call,
        upstream: Upstream,
        known: Known,
        limits: Bounds,
        attributes: Narrowing,
        *,
        may_clamp: bool,
    ) -> "Reservation | Refused | _Short":
        """From what is known and in hand. A call is cut only once it is known that no more is to be had."""
        terms = known.terms
        at = self._clock.now()
        if barred := self._barred(call, known, attributes, at):
            return barred
        rates = self._prices.rates(upstream.provider, call.model, at, known.who.org)
        worst = estimate(rates, terms.fx_rate, limits) if rates is not None else None
        if rates is None or worst is None or isinstance(worst, Unpriced):
            return Refused(Reason.MODEL_NOT_PRICED, known, detail=worst.detail if isinstance(worst, Unpriced) else "")
        pool = known.hard_pool(attributes)
        if not pool[1]:
            return Reservation(call, upstream, known, rates, worst, None, at)
        now = self._clock.monotonic()
        if hold := self._leases.reserve(pool, worst.amount, now):
            return Reservation(call, upstream, known, rates, worst, hold, at)
        if terms.clamp and may_clamp:
            smaller = clamped(rates, terms.fx_rate, limits, self._leases.room(pool, now), terms.min_output_tokens)
            if smaller and (hold := self._leases.reserve(pool, smaller.amount, now)):
                return Reservation(call, upstream, known, rates, smaller, hold, at)
        return _SHORT

    def _barred(self, call: Call, known: Known, attributes: Narrowing, at: datetime) -> Refused | None:
        """Why no amount of money would let the call pass."""
        if not is_allowed(call.model, known.terms.allowed_models, known.terms.blocked_models):
            return Refused(Reason.MODEL_NOT_ALLOWED, known)
        if (fault := self._prices.fault(at)) and known.holds_money(attributes):
            return Refused(Reason.PRICES_OUTDATED, known, detail=fault)
        return None

    def _ask(
        self, key_hash: str, known: Known | None, rates: Rates | None, limits: Bounds, attributes: Narrowing
    ) -> Ask:
        """What to ask for. Without a policy the bill's currency is unknown, and so is whether the call may be cut."""
        if rates is None:
            return _question(key_hash)
        need = estimate(rates, known.terms.fx_rate if known else _DOLLAR, limits)
        if isinstance(need, Unpriced):
            return _question(key_hash)
        least: Estimate | Unpriced = need
        if known is not None and known.terms.clamp:
            fewest = min(known.terms.min_output_tokens, limits.output)
            least = estimate(rates, known.terms.fx_rate, limits._replace(output=fewest))
        pool = known.hard_pool(attributes) if known else None
        return Ask(key_hash, attributes, known, pool, need if isinstance(least, Unpriced) else least, need)

    def _refused(self, known: Known, refusal: Refusal, ask: Ask) -> Refused | None:
        """None if it is worth asking for less, now that it is known that the account allows that."""
        if ask.known is None and known.terms.clamp:
            return None
        budget = next((each for each in known.budgets if each.id == refusal.budget_id), None)
        return Refused(Reason(refusal.code), known, budget)

    def _look_ahead(self, key_hash: str, known: Known, attributes: Narrowing, verdict: "Reservation | Refused") -> None:
        """Ask for a fresh policy before it is stale, and for the next lease before this one is empty."""
        now = self._clock.monotonic()
        if isinstance(verdict, Reservation) and verdict.hold is not None:
            pool = verdict.hold.lease.pool.key
            if self._leases.is_low(pool, now):
                self._client.renew(Ask(key_hash, attributes, known, pool, None, verdict.estimate))
        if now >= known.refresh_at:
            known.refresh_at = now + 1.0
            self._client.renew(_question(key_hash))


@dataclass(frozen=True, slots=True)
class _Short:
    """No lease in hand can carry the call."""


_SHORT: Final = _Short()


def _question(key_hash: str) -> Ask:
    """For the policy alone."""
    return Ask(key_hash, (None, None, None, None), None, None, None, None)


def _attributes(call: Call, upstream: Upstream) -> Narrowing:
    return upstream.provider, call.model, call.attribution.feature, call.attribution.session
