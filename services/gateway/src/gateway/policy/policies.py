"""What the gateway knows of keys: who pays, what is allowed, which budgets apply. A cache, never the truth.

A policy is fresh for some seconds and is dropped at once when `account.policy` names an account on its path. While the
budget service is away an older one serves, within a bound, but never that of an account known to be revoked, nor one of
which the budget service itself said that it changed: new limits are guaranteed from when gateways have confirmed that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from sys import intern
from typing import Final, Literal, NamedTuple
from uuid import UUID

import orjson

from farebox.events import Measure, Principal
from farebox.events.budget import AccountKind, Mode
from farebox.matching import EVERYTHING, Admitted, Narrowing, applies
from farebox.shares import PathBudget, Policy
from gateway.shares.shares import MEASURES, Path, Window, WindowKey

KEYS_MAX: Final = 200_000
"""Policies kept; the one that was asked for longest ago goes first."""
WRONG_CLOCK_S: Final = 60.0
"""A window that begins later than what is said now is believed for no longer."""
UNKNOWN_S: Final = 2.0
"""A key that was just called unknown is not asked for again for so long."""
UNKNOWN_MAX: Final = 10_000
BUDGETS_SPARE: Final = 10_000
"""Budgets that no key refers to any more are forgotten when there are so many."""
REFRESH_AT: Final = 0.6
"""Part of its life after which a policy in use is asked for again, ahead of need."""

PLATFORM: Final = "platform"


class AccountSettings(NamedTuple):
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


class Who(NamedTuple):
    """A principal: account ids below the platform."""

    org: str
    team: str | None
    user: str | None
    key: str

    @property
    def subject(self) -> str:
        """The Kafka key, as `farebox.events.Principal.subject` has it."""
        return self.user or self.key

    @property
    def viewed(self) -> str:
        """The account whose figures the key's holder may see (ARCHITECTURE, `/api`)."""
        return self.user or self.team or self.org


@dataclass(slots=True, eq=False)
class Budget:
    """A budget with its newest figures, one object for all keys below it. Flat, because there may be one a key."""

    id: UUID
    name: str
    account: str
    account_kind: AccountKind
    account_name: str
    measure: Measure
    currency: str | None
    mode: Mode
    narrowed_to: Narrowing
    window: Window
    window_since: float
    limit: int = 0
    spent: int = 0
    held: int = 0
    uncertain: int = 0
    resets_at: datetime | None = None
    settled_here: int = 0
    """What this gateway settled since the figures came, where no share tells."""

    @property
    def is_hard(self) -> bool:
        return self.mode == "hard"

    @property
    def left(self) -> int:
        """What can still be promised, as far as is known here; negative where more is out than the limit."""
        return self.limit - self.spent - self.held - self.uncertain - self.settled_here

    @property
    def is_shown(self) -> bool:
        """Whether it counts for the balance that callers are told."""
        return self.measure == "money" and self.mode != "shadow"

    def applies(self, call: Admitted) -> bool:
        return self.narrowed_to is EVERYTHING or applies(self.narrowed_to, call)


@dataclass(slots=True, eq=False)
class KeyPolicy:
    """One key's policy."""

    who: Who
    settings: AccountSettings
    budgets: tuple[Budget, ...]
    learnt_at: float
    fresh_until: float
    refresh_at: float

    def path(self, call: Admitted) -> Path:
        """The windows of the hard budgets that apply to a call, platform first; empty if none does."""
        return [budget.window for budget in self.budgets if budget.is_hard and budget.applies(call)]

    def holds_money(self, call: Admitted) -> bool:
        """Whether a hard budget in money applies to a call: then what is held for it must be no less than its bill."""
        return any(b.is_hard and b.measure == "money" and b.applies(call) for b in self.budgets)

    def settle(self, money: int) -> None:
        """Count a call in the budgets that need no share, until their next figures come."""
        for budget in self.budgets:
            if budget.mode == "soft" and budget.is_shown and budget.narrowed_to is EVERYTHING:
                budget.settled_here += money


class Policies:
    """By key hash. Instants are seconds on a monotonic clock."""

    def __init__(self, *, fresh_s: float, stale_s: float) -> None:
        self._fresh_s = fresh_s
        self._stale_s = stale_s
        self._known: dict[str, KeyPolicy] = {}
        self._unknown: dict[str, float] = {}
        self._changed: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._revoked: dict[str, int] = {}
        self._budgets: dict[UUID, Budget] = {}
        self._settings: dict[AccountSettings, AccountSettings] = {}
        self._instants: dict[datetime | None, datetime | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def fresh(self, key_hash: str, now: float) -> KeyPolicy | None:
        """The key's policy, if it may be used without asking."""
        key_policy = self._known.get(key_hash)
        if key_policy is None or now >= key_policy.fresh_until or self._is_outdated(key_policy):
            return None
        return key_policy

    def stale(self, key_hash: str, now: float) -> KeyPolicy | None:
        """The key's policy, if it may be used while nobody can be asked."""
        key_policy = self._known.get(key_hash)
        if (
            key_policy is None
            or now - key_policy.learnt_at > self._stale_s
            or not self._revoked.keys().isdisjoint(key_policy.who)
        ):
            return None
        return None if self.is_superseded(key_policy) else key_policy

    def is_superseded(self, key_policy: KeyPolicy) -> bool:
        """Whether the budget service has said since that it changed: it counts on nobody going by it any more."""
        return _is_named(self._told, key_policy)

    def is_unknown(self, key_hash: str, now: float) -> bool:
        """Whether the budget service has just said that there is no such key."""
        return self._unknown.get(key_hash, now) > now

    def learn(self, key_hash: str, policy: Policy, *, asked_at: float) -> KeyPolicy:
        """Take what the budget service answered to a question of `asked_at`."""
        budgets = tuple(self._budget(figures, asked_at) for figures in policy.budgets)
        settings = _settings(policy)
        life_s = min(policy.fresh_for_ms / 1000, self._fresh_s)
        key_policy = KeyPolicy(
            who=_who(policy.principal),
            settings=self._settings.setdefault(settings, settings),
            budgets=budgets,
            learnt_at=asked_at,
            fresh_until=asked_at + life_s,
            refresh_at=asked_at + life_s * REFRESH_AT,
        )
        self._known.pop(key_hash, None)
        self._known[key_hash] = key_policy
        self._unknown.pop(key_hash, None)
        if len(self._known) > KEYS_MAX:
            del self._known[next(iter(self._known))]
        return key_policy

    def forget(self, key_hash: str, now: float) -> None:
        """The budget service does not know this key, or not any more."""
        self._known.pop(key_hash, None)
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[key_hash] = now + UNKNOWN_S

    def changed(self, account_id: str, *, revoked: bool, revision: int, now: float) -> None:
        """`account.policy` said that what is cached about an account and those below it is out of date.

        News from before a revocation, sent late by a stalled producer, do not undo it. Other late news only make the
        gateway ask again, so that their revisions need not be remembered.
        """
        self._changed[account_id] = now
        if revoked:
            self._revoked[account_id] = revision
        elif revision > self._revoked.get(account_id, 0):
            self._revoked.pop(account_id, None)

    def outdated(self, account_id: str, now: float) -> None:
        """As `changed`, by the budget service, which does not say whether the account is revoked."""
        self._changed[account_id] = self._told[account_id] = now

    def all_changed(self, now: float) -> None:
        """Any policy may have changed."""
        self.outdated(PLATFORM, now)

    def tick(self, now: float) -> None:
        """Forget what is too old to matter."""
        self._instants.clear()
        if len(self._budgets) > 2 * len(self._known) + BUDGETS_SPARE:
            self._budgets = {budget.id: budget for key_policy in self._known.values() for budget in key_policy.budgets}
        too_old = now - self._stale_s
        for key_hash in [key for key, key_policy in self._known.items() if key_policy.learnt_at < too_old]:
            del self._known[key_hash]
        for changes in (self._changed, self._told):
            for account_id in [account for account, at in changes.items() if at < too_old]:
                del changes[account_id]

    def _is_outdated(self, key_policy: KeyPolicy) -> bool:
        return _is_named(self._changed, key_policy)

    def _budget(self, figures: PathBudget, asked_at: float) -> Budget:
        """Of two answers the one with the newer window is true, whichever comes last.

        But for WRONG_CLOCK_S only, because it may come from a machine whose clock is wrong.
        """
        budget = self._budgets.get(figures.budget_id)
        narrowed_to = _narrowing(figures)
        window = _window(figures, asked_at)
        if budget is None or (budget.mode, budget.narrowed_to) != (figures.mode, narrowed_to):
            budget = self._budgets[figures.budget_id] = Budget(
                id=figures.budget_id,
                name=intern(figures.name),
                account=intern(figures.account.id),
                account_kind=figures.account.kind,
                account_name=intern(figures.account.name),
                measure=figures.measure,
                currency=figures.currency and intern(figures.currency),
                mode=figures.mode,
                narrowed_to=narrowed_to,
                window=window,
                window_since=asked_at,
            )
        is_older = window.key.start < budget.window.key.start
        if is_older and asked_at < budget.window_since + WRONG_CLOCK_S:
            return budget
        if window.key.start != budget.window.key.start:
            budget.window, budget.window_since = window, asked_at
        elif _ends_later(window, budget.window):
            budget.window = window
        budget.uncertain = figures.uncertain
        budget.limit, budget.spent, budget.held = figures.limit, figures.spent, figures.held
        budget.settled_here = 0
        budget.resets_at = self._instants.setdefault(figures.resets_at, figures.resets_at)
        return budget


def _is_named(changes: Mapping[str, float], key_policy: KeyPolicy) -> bool:
    """Whether an account on the policy's path has changed since it was asked for."""
    return bool(changes) and any(
        changes.get(account, -1.0) >= key_policy.learnt_at for account in (PLATFORM, *key_policy.who) if account
    )


def _who(principal: Principal) -> Who:
    """Names are interned: one object, however many keys have it in their path."""
    org, team, user, key = principal.org, principal.team, principal.user, principal.key
    return Who(intern(org), team and intern(team), user and intern(user), intern(key))


def _narrowing(figures: PathBudget) -> Narrowing:
    to = figures.narrowed_to
    narrowed = Narrowing(to.provider, to.model, to.feature, to.session)
    return EVERYTHING if narrowed == EVERYTHING else narrowed


def _window(figures: PathBudget, asked_at: float) -> Window:
    ends_at = None if figures.ends_in_ms is None else asked_at + figures.ends_in_ms / 1000
    return Window(WindowKey(figures.budget_id, figures.window_start), MEASURES.index(figures.measure), ends_at)


def _ends_later(window: Window, known: Window) -> bool:
    """Of one window: its end is counted from before the answer was made, so the later count is nearer to the truth."""
    return window.ends_at is not None and known.ends_at is not None and window.ends_at > known.ends_at


def _settings(policy: Policy) -> AccountSettings:
    billing: Mapping[str, object] = policy.billing.model_dump(mode="json")
    return AccountSettings(
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
