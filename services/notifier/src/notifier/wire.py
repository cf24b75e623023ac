"""The shapes of `/api` bodies: what is asked, and how channels, alerts and deliveries are answered."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from farebox.events import BudgetState, ThresholdCrossed, ThresholdMark, ThresholdResolved
from farebox.money import NANO
from notifier.alert import TEST_TYPE, stored_alert
from notifier.channel import Channel, Kind

Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]

OVERLAP_MAX: Final = timedelta(days=7)


class Asked(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelAsked(Asked):
    """`POST /api/channels`. E-mail needs `recipients`, a webhook `url`."""

    account: Text
    kind: Kind
    name: Text | None = None
    recipients: list[str] | None = None
    url: str | None = None
    event_types: list[str] | None = None


class ChannelChange(Asked):
    """`PATCH /api/channels/{id}`; what is left out stays. `event_types: null` means all types again."""

    name: Text | None = None
    recipients: list[str] | None = None
    url: str | None = None
    event_types: list[str] | None = None
    active: bool | None = None


class TestAsked(Asked):
    """`POST /api/channels/{id}/test`."""

    language: Literal["vi", "ko", "en"] = "en"


class RotationAsked(Asked):
    """`POST /api/channels/{id}/rotate`: for so many hours the old secret signs as well."""

    overlap_hours: Annotated[int, Field(ge=0, le=OVERLAP_MAX // timedelta(hours=1))] = 24


class Acknowledgement(Asked):
    """`POST /api/alerts/{event_id}/acknowledge`."""

    by: Text | None = None
    note: Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")] | None = None


def channel_answer(channel: Channel, secret: str | None = None) -> dict[str, object]:
    """A channel; with its webhook secret only when that was just made."""
    answer: dict[str, object] = {
        "channel_id": channel.channel_id,
        "account": channel.account,
        "kind": channel.kind.value,
        "name": channel.name,
        "state": channel.state.value,
        "disabled_reason": channel.disabled_reason,
        "created_at": channel.created_at,
        "updated_at": channel.updated_at,
    }
    if channel.kind is Kind.EMAIL:
        answer["recipients"] = channel.recipients
    else:
        answer |= {"url": channel.url, "event_types": channel.event_types}
    return answer if secret is None else answer | {"secret": secret}


def delivery_answer(row: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]] | None = None) -> dict[str, object]:
    """A delivery, with the log of its attempts where that was asked for."""
    names = ("delivery_id", "event_id", "channel_id", "account", "kind", "type", "state", "attempts")
    answer = {name: row[name] for name in names}
    answer["next_attempt_at"] = row["next_attempt_at"] if row["state"] == "pending" else None
    answer |= {name: row[name] for name in ("last_status", "last_error", "created_at", "finished_at")}
    return answer if attempts is None else answer | {"log": [dict(attempt) for attempt in attempts]}


def alert_answer(row: Mapping[str, Any]) -> dict[str, object]:
    """A line of the history: what happened to which budget, who was told and when, who acknowledged."""
    alert = stored_alert(row["type"], row["event"])
    mark = alert.threshold if isinstance(alert, ThresholdCrossed | ThresholdResolved) else None
    names = ("event_id", "type", "occurred_at", "account", "notify_people")
    return {
        **{name: row[name] for name in names},
        "test": row["type"] == TEST_TYPE,
        **_budget(alert.budget),
        "severity": mark.severity if mark else None,
        "threshold": _mark(mark, alert.budget) if mark else None,
        "occurrence": alert.occurrence,
        "provisional": not isinstance(alert, ThresholdResolved) and alert.provisional,
        "acknowledged_at": row["acknowledged_at"],
        "acknowledged_by": row["acknowledged_by"],
        "note": row["note"],
        "deliveries": json.loads(row["deliveries"]),
    }


def _budget(budget: BudgetState) -> dict[str, object]:
    quantities = {name: _quantity(getattr(budget, name), budget) for name in ("limit", "spent", "remaining")}
    return {
        "budget_id": budget.budget_id,
        "budget_name": budget.budget_name,
        "measure": budget.measure,
        "currency": budget.currency,
        "percent_spent": str(budget.percent_spent),
        **quantities,
    }


def _mark(mark: ThresholdMark, budget: BudgetState) -> dict[str, str]:
    if mark.percent is not None:
        return {"percent": str(mark.percent)}
    return {"amount": _quantity(mark.amount or 0, budget)}


def _quantity(quantity: int, budget: BudgetState) -> str:
    """A decimal string of the currency, or the plain count."""
    if budget.measure != "money":
        return str(quantity)
    return f"{(Decimal(quantity) / NANO).normalize():f}"
