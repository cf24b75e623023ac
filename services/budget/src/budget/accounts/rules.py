"""Accounts: the tree platform → org → team → user → key, and the settings that come down it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from farebox.events import AccountRef, BillingTerms, Locale, Principal
from farebox.events.budget import AccountKind

PLATFORM: Final = "platform"

_PARENTS: Final[dict[str, tuple[str, ...]]] = {
    "org": ("platform",),
    "team": ("org",),
    "user": ("org", "team"),
    "key": ("org", "team", "user"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """Settings of an account; None is inherited from the parent."""

    currency: str | None = None
    fx_rate: Decimal | None = None
    fx_source: str | None = None
    fx_date: date | None = None
    language: Literal["vi", "ko", "en"] | None = None
    zone: str | None = None
    clamp: bool | None = None
    min_output_tokens: int | None = None
    default_output_tokens: int | None = None
    allowed_models: tuple[str, ...] | None = None
    blocked_models: tuple[str, ...] | None = None
    alerts: bool | None = None
    uncertain_for_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The settings in force for an account: its own where it has them, else the nearest ancestor's."""

    currency: str
    fx_rate: Decimal
    fx_source: str
    fx_date: date
    language: Literal["vi", "ko", "en"]
    zone: str
    clamp: bool
    min_output_tokens: int
    default_output_tokens: int
    allowed_models: tuple[str, ...] | None
    blocked_models: tuple[str, ...]
    alerts: bool
    uncertain_for_s: int = 0
    """What a provider did not report stops counting after so many seconds; 0 where it counts until it is ended. That is
    outside the guarantee of hard budgets."""

    @property
    def billing(self) -> BillingTerms:
        return BillingTerms(
            currency=self.currency, fx_rate=self.fx_rate, fx_source=self.fx_source, fx_date=self.fx_date
        )

    @property
    def locale(self) -> Locale:
        return Locale(language=self.language, zone=self.zone)


@dataclass(frozen=True, slots=True)
class Account:
    """One account with its own settings."""

    account_id: str
    kind: AccountKind
    path: tuple[str, ...]
    name: str
    terms: AccountSettings
    revision: int

    @property
    def ref(self) -> AccountRef:
        return AccountRef(id=self.account_id, kind=self.kind, name=self.name)


def in_force(path: Sequence[Account]) -> InForce:
    """Settings of the last account on a path that starts at the platform, which has every setting.

    Blocked models add up along the path; allowed models narrow: only what every level allows is allowed.
    """
    values: dict[str, object] = {}
    blocked: dict[str, None] = {}
    allowed: tuple[str, ...] | None = None
    for account in path:
        for field in fields(AccountSettings):
            value = getattr(account.terms, field.name)
            if value is not None:
                values[field.name] = value
        blocked |= dict.fromkeys(account.terms.blocked_models or ())
        own = account.terms.allowed_models
        if own is not None:
            allowed = own if allowed is None else tuple(model for model in allowed if model in own)
    values |= {"allowed_models": allowed, "blocked_models": tuple(blocked)}
    return InForce(**values)  # type: ignore[arg-type]  # the fields are those of Terms, filled from the platform down


def principal(path: Sequence[Account]) -> Principal:
    """Who a key's calls are charged to. The path ends with the key."""
    by_kind = {account.kind: account.account_id for account in path}
    return Principal(org=by_kind["org"], team=by_kind.get("team"), user=by_kind.get("user"), key=by_kind["key"])


def misplaced(kind: AccountKind, parent: AccountKind) -> str | None:
    """Why an account of `kind` cannot hang below one of `parent`; None if it can."""
    allowed = _PARENTS.get(kind, ())
    if parent in allowed:
        return None
    return f"parent: a {kind} belongs to {' or '.join(allowed) or 'nothing'}, not to a {parent}"
