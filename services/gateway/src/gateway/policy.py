"""What the gateway knows of keys: who pays, what is allowed, which budgets apply. A cache, never the truth.

A policy is fresh for some seconds and is dropped at once when `account.policy` names an account on its path. While the
budget service is away an older one serves, within a bound, but never that of an account known to be revoked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

import orjson

from farebox.leasing import PathBudget, Policy
from gateway.leases import PoolKey

KEYS_MAX: Final = 200_000
"""Policies kept; the one that was asked for longest ago goes first."""
UNKNOWN_S: Final = 2.0
"""A key that was just called unknown is not asked for again for so long."""
UNKNOWN_MAX: Final = 10_000
REFRESH_AT: Final = 0.6
"""Part of its life after which a policy in use is asked for again, ahead of need."""

Narrowing = tuple[str | None, str | None, str | None, str | None]
"""Provider, model, feature, session; None is any."""


class Terms(NamedTuple):
    """What many keys share: how they are billed and spoken to, what they may ask for."""

    currency: str
    fx_rate: Decimal
    billing_json: bytes
    language: Literal["vi", "ko", "en"]
    zone: str
    clamp: bool
    min_output_tokens: int
    allowed_models: tuple[str, ...] | None
    blocked_models: tuple[str, ...]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Budget:
    """A budget with its newest figures, one object for all keys below it."""

    id: UUID
    figures: PathBudget
    narrowed_to: Narrowing
    is_hard: bool
    left: int = 0
    """What the budget service last said can still be promised."""
    is_shown: bool = False
    """Whether it counts for the balance that callers are told."""

    def applies(self, attributes: Narrowing) -> bool:
        return all(want is None or want == has for want, has in zip(self.narrowed_to, attributes, strict=True))


@dataclass(slots=True, eq=False)
class Known:
    """One key's policy. `pool` is set where every call of the key has the same hard budgets."""

    path: tuple[str, ...]
    subject: str
    org: str
    viewer_account: str
    principal_json: bytes
    terms: Terms
    budgets: tuple[Budget, ...]
    is_narrowed: bool
    pool: PoolKey
    learnt_at: float
    fresh_until: float
    refresh_at: float

    def hard_pool(self, attributes: Narrowing) -> PoolKey:
        """The hard budgets that apply to a call; empty if none does."""
        if not self.is_narrowed:
            return self.pool
        ids = sorted(b.id for b in self.budgets if b.is_hard and b.applies(attributes))
        return self.terms.currency, tuple(ids)


class Policies:
    """By key hash. Instants are seconds on a monotonic clock."""

    def __init__(self, *, fresh_s: float, stale_s: float) -> None:
        self._fresh_s = fresh_s
        self._stale_s = stale_s
        self._known: dict[str, Known] = {}
        self._unknown: dict[str, float] = {}
        self._changed: dict[str, float] = {}
        self._revoked: set[str] = set()
        self._budgets: WeakValueDictionary[UUID, Budget] = WeakValueDictionary()
        self._terms: dict[Terms, Terms] = {}

    def __len__(self) -> int:
        return len(self._known)

    def fresh(self, key_hash: str, now: float) -> Known | None:
        """The key's policy, if it may be used without asking."""
        known = self._known.get(key_hash)
        if known is None or now >= known.fresh_until or self._is_outdated(known):
            return None
        return known

    def stale(self, key_hash: str, now: float) -> Known | None:
        """The key's policy, if it may be used while nobody can be asked."""
        known = self._known.get(key_hash)
        if known is None or now - known.learnt_at > self._stale_s or not self._revoked.isdisjoint(known.path):
            return None
        return known

    def is_unknown(self, key_hash: str, now: float) -> bool:
        """Whether the budget service has just said that there is no such key."""
        return self._unknown.get(key_hash, now) > now

    def learn(self, key_hash: str, policy: Policy, *, asked_at: float) -> Known:
        """Take what the budget service answered to a question of `asked_at`."""
        budgets = tuple(self._budget(figures) for figures in policy.budgets)
        hard = [budget for budget in budgets if budget.is_hard]
        principal = policy.principal
        terms = _terms(policy)
        life_s = min(policy.fresh_for_ms / 1000, self._fresh_s)
        known = Known(
            path=principal.path(),
            subject=principal.subject(),
            org=principal.org,
            viewer_account=principal.user or principal.team or principal.org,
            principal_json=principal.model_dump_json().encode(),
            terms=self._terms.setdefault(terms, terms),
            budgets=budgets,
            is_narrowed=any(any(budget.narrowed_to) for budget in hard),
            pool=(terms.currency, tuple(sorted(budget.id for budget in hard))),
            learnt_at=asked_at,
            fresh_until=asked_at + life_s,
            refresh_at=asked_at + life_s * REFRESH_AT,
        )
        self._known.pop(key_hash, None)
        self._known[key_hash] = known
        self._unknown.pop(key_hash, None)
        if len(self._known) > KEYS_MAX:
            del self._known[next(iter(self._known))]
        return known

    def forget(self, key_hash: str, now: float) -> None:
        """The budget service does not know this key, or not any more."""
        self._known.pop(key_hash, None)
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[key_hash] = now + UNKNOWN_S

    def changed(self, account_id: str, *, revoked: bool, now: float) -> None:
        """`account.policy` said that what is cached about an account and those below it is out of date."""
        self._changed[account_id] = now
        if revoked:
            self._revoked.add(account_id)
        else:
            self._revoked.discard(account_id)

    def tick(self, now: float) -> None:
        """Forget what is too old to matter."""
        too_old = now - self._stale_s
        for key_hash in [key for key, known in self._known.items() if known.learnt_at < too_old]:
            del self._known[key_hash]
        for account_id in [account for account, at in self._changed.items() if at < too_old]:
            del self._changed[account_id]

    def _is_outdated(self, known: Known) -> bool:
        changed = self._changed
        return bool(changed) and any(changed.get(account, -1.0) >= known.learnt_at for account in known.path)

    def _budget(self, figures: PathBudget) -> Budget:
        narrowed_to, is_hard = _narrowing(figures), figures.mode == "hard"
        budget = self._budgets.get(figures.budget_id)
        if budget is None or (budget.narrowed_to, budget.is_hard) != (narrowed_to, is_hard):
            budget = self._budgets[figures.budget_id] = Budget(figures.budget_id, figures, narrowed_to, is_hard)
        budget.figures = figures
        budget.left = figures.limit - figures.spent - figures.held
        budget.is_shown = figures.measure == "money" and figures.mode != "shadow"
        return budget


def _narrowing(figures: PathBudget) -> Narrowing:
    to = figures.narrowed_to
    return to.provider, to.model, to.feature, to.session


def _terms(policy: Policy) -> Terms:
    billing: Mapping[str, object] = policy.billing.model_dump(mode="json")
    return Terms(
        currency=policy.billing.currency,
        fx_rate=policy.billing.fx_rate,
        billing_json=orjson.dumps(billing),
        language=policy.language,
        zone=policy.zone,
        clamp=policy.clamp,
        min_output_tokens=policy.min_output_tokens,
        allowed_models=policy.allowed_models,
        blocked_models=policy.blocked_models,
    )
