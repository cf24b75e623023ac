"""Answers that are no model's: errors in the shape of the caller's dialect, for an unchanged SDK to understand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, assert_never
from zoneinfo import ZoneInfo

import orjson

from farebox.errors import FareboxError, Transient
from farebox.money import decimal_text, format_amount
from gateway.admission.estimate import Reason
from gateway.admission.verdict import Refused
from gateway.dialects.path import setting
from gateway.errors import BadCall, Fenced, JournalFull, Stage
from gateway.policy.policies import Budget, KeyPolicy
from gateway.refusals.texts import NEEDS, RAISE, REFUSALS, WAIT
from gateway.upstreams.directory import Dialect

_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Final[Mapping[int, str]] = {
    **_TYPES,
    402: "billing_error",
    413: "request_too_large",
    504: "timeout_error",
}
_NO_RETRY: Final = {"x-should-retry": "false"}
"""OpenAI's and Anthropic's SDKs obey it; else they would send a call again that was refused for money, or buy an answer
again that may have been billed."""
_NO_THREADS: Final = {"details": {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}}
"""Anthropic's SDK then sends the whole conversation, instead of naming one that the provider keeps."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error. `details` go into the error object beside message, type, param and code."""

    status: int
    code: str
    message: str
    param: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, dialect: Dialect) -> bytes:
        said = {"message": self.message, "param": self.param, "code": self.code, **self.details}
        if dialect == "anthropic":
            kind = _ANTHROPIC_TYPES.get(self.status, "api_error")
            return orjson.dumps({"type": "error", "error": {"type": kind, **said}})
        return orjson.dumps({"error": {"type": _TYPES.get(self.status, "api_error"), **said}})


BUDGET_AWAY: Final = Refusal(
    503,
    "budget_unavailable",
    "The budget cannot be checked at the moment. Send the request again.",
    headers={"retry-after": "1"},
)
JOURNAL_FULL: Final = Refusal(
    503,
    "journal_unavailable",
    "The request cannot be recorded at the moment, so it was not sent. Send it again.",
    headers={"retry-after": "5"},
)
NOT_POST: Final = Refusal(405, "method_not_allowed", "Use POST.", headers={"allow": "POST"})
UNEXPECTED: Final = Refusal(500, "internal_error", "An unexpected error; the log has it.", headers=_NO_RETRY)
UPSTREAM_LOCKED_OUT: Final = Refusal(502, "upstream_unauthorized", "The provider refused this gateway's credentials.")


def of(error: FareboxError) -> Refusal:
    """An error of the tree as an answer."""
    match error:
        case BadCall():
            return Refusal(error.http_status, error.reason or error.code, str(error), error.param, headers=_NO_RETRY)
        case JournalFull():
            return JOURNAL_FULL
        case Transient() | Fenced():
            return BUDGET_AWAY
        case _:
            return Refusal(error.status, error.code, str(error), headers=_NO_RETRY)


def no_endpoint(method: str, path: str) -> Refusal:
    """A path that is none of the gateway's."""
    message = (
        f"There is no `{method} {path}` here. Model calls go to `/v1/chat/completions` (OpenAI's dialect) and "
        "`/v1/messages` (Anthropic's)."
    )
    return Refusal(404, "endpoint_not_found", message, headers=_NO_RETRY)


def upstream_failed(stage: Stage) -> Refusal:
    """What a caller hears when the provider gave no answer. What was sent may have been billed."""
    match stage:
        case Stage.NOT_SENT:
            return Refusal(502, "upstream_unavailable", "The provider could not be reached.")
        case Stage.SENT:
            return Refusal(502, "upstream_unavailable", "The provider broke off.", headers=_NO_RETRY)
        case Stage.TIMED_OUT:
            return Refusal(504, "upstream_timeout", "The provider did not answer in time.", headers=_NO_RETRY)
        case unknown:
            assert_never(unknown)


def refused(why: Refused, model: str, now: datetime) -> Refusal:
    """A decision of admission as an answer."""
    match why.reason:
        case Reason.MODEL_NOT_ALLOWED | Reason.MODEL_NOT_PRICED:
            return _not_this_model(why, model)
        case Reason.FIELD_NOT_BOUNDED | Reason.MODEL_NOT_BOUNDED:
            return _not_bounded(why)
        case Reason.PRICES_OUTDATED:
            message = f"{why.detail} Such calls wait until that is mended."
            return Refusal(503, why.reason, message, headers={"retry-after": "5"})
        case Reason.BUDGET_UNAVAILABLE:
            return BUDGET_AWAY
        case Reason.BUDGET_EXCEEDED | Reason.INSUFFICIENT_BALANCE | Reason.QUOTA_EXCEEDED:
            if why.key_policy is None or why.budget is None:
                return BUDGET_AWAY
            return _short(why, why.key_policy, why.budget, now)
        case unknown:
            assert_never(unknown)


def _not_this_model(why: Refused, model: str) -> Refusal:
    if why.reason is Reason.MODEL_NOT_ALLOWED:
        message = f"The model `{why.model or model}` is not allowed for this key. {why.detail}"
    else:
        message = f"The model `{why.model or model}` has no price, so that it cannot be used. {why.detail}"
    return Refusal(403, why.reason, message.rstrip(), "model", headers=_NO_RETRY)


def _not_bounded(why: Refused) -> Refusal:
    if why.reason is Reason.MODEL_NOT_BOUNDED:
        message = f"The cost of this call has no bound, so that it cannot be made under a hard budget. {why.detail}"
        return Refusal(400, why.reason, message, "model", headers=_NO_RETRY)
    takes = "state its `max_uses` if it takes one, " if why.detail.startswith("tools:") else ""
    message = (
        f"What `{why.detail}` adds to the cost of this call cannot be known before it is sent, so that it cannot be "
        f"made under a hard budget. Leave it out, {takes}or have the operator list `{setting(why.detail)}` in "
        "`allow_fields` of the upstream."
    )
    details = _NO_THREADS if why.detail == "thread" else {}
    return Refusal(400, why.reason, message, why.detail, details, headers=_NO_RETRY)


def _short(why: Refused, key_policy: KeyPolicy, budget: Budget, now: datetime) -> Refusal:
    """402 for money, 429 for quotas; PROFILES.md lists the fields, and `required` says what the call needs at least."""
    settings, reason, in_hand = key_policy.settings, why.reason, why.in_hand
    is_money = budget.measure == "money"
    remaining = max(0, budget.left + in_hand)

    def shown(amount: int) -> str:
        return format_amount(amount, settings.currency, settings.language) if is_money else str(amount)

    resets_at = budget.resets_at
    advice = RAISE[settings.language]
    if resets_at is not None:
        local = resets_at.astimezone(ZoneInfo(settings.zone))
        advice = WAIT[settings.language].format(resets_at=f"{local:%Y-%m-%d %H:%M} ({settings.zone})")
    message = REFUSALS[settings.language][reason].format(
        budget=budget.name,
        account=budget.account_name or budget.account,
        remaining=shown(remaining),
        limit=shown(budget.limit),
        advice=advice,
    )
    if why.required is not None and budget.measure != "requests":
        message += NEEDS[settings.language].format(required=shown(why.required))
    figure = decimal_text if is_money else str
    details = {
        "budget_exceeded": True,
        "budget": budget.name,
        "budget_id": str(budget.id),
        "scope": budget.account_kind,
        "account": budget.account,
        "measure": budget.measure,
        "limit": figure(budget.limit),
        "spent": figure(budget.spent),
        "held": figure(max(0, budget.held - in_hand)),
        "remaining": figure(remaining),
        "required": None if why.required is None else figure(why.required),
        "resets_at": resets_at.isoformat() if resets_at else None,
        "currency": budget.currency,
    }
    if is_money:
        return Refusal(402, reason, message, details=details, headers=_NO_RETRY)
    headers = dict(_NO_RETRY)
    if resets_at is not None:
        headers["retry-after"] = str(max(1, int((resets_at - now).total_seconds())))
    return Refusal(429, reason, message, details=details, headers=headers)
