"""Events of a budget, with only what a test cares for."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from farebox.events import (
    AccountRef,
    BudgetEvent,
    BudgetState,
    BudgetWindow,
    CloudEvent,
    Envelope,
    Locale,
    ThresholdCrossed,
    ThresholdMark,
)
from farebox.ids import new_id
from farebox.kafka import Message
from farebox.money import NANO

NOON = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)  # in Ho Chi Minh City; 14:00 in Seoul
MIDNIGHT = datetime(2026, 11, 30, 17, 0, tzinfo=UTC)  # of 1 December in Ho Chi Minh City
BUDGET_ID = UUID("01900000-0000-7000-8000-000000000001")

ZONES: dict[str, tuple[Literal["vi", "ko", "en"], str, str]] = {
    "vi": ("vi", "Asia/Ho_Chi_Minh", "VND"),
    "ko": ("ko", "Asia/Seoul", "KRW"),
    "en": ("en", "America/New_York", "USD"),
}


def marks(**percents: int) -> tuple[ThresholdMark, ...]:
    """`marks(warning=75, critical=90)`."""
    return tuple(ThresholdMark(severity=name, percent=Decimal(percent)) for name, percent in percents.items())


PHO_CHAT = marks(warning=75, critical=90, emergency=95)
MATCH_DAILY = marks(info=50, warning=80, critical=95)


def state(percent: str = "75.00", limit: int = 29_000, language: str = "vi", **fields: Any) -> BudgetState:
    """A monthly budget of `limit` whole units, spent to this percentage."""
    nano = limit * NANO
    spent = int(nano * Decimal(percent) / 100)
    _, zone, currency = ZONES[language]
    values: dict[str, Any] = {
        "budget_id": BUDGET_ID,
        "budget_name": "Monthly budget",
        "account": AccountRef(id="acme", kind="org", name="Acme"),
        "path": ("platform", "acme"),
        "measure": "money",
        "currency": currency,
        "mode": "hard",
        "window": BudgetWindow(kind="month", start=NOON.replace(day=1), end=MIDNIGHT, zone=zone),
        "limit": nano,
        "limit_revision": 1,
        "spent": spent,
        "held": 0,
        "remaining": max(0, nano - spent),
        "percent_spent": Decimal(percent),
        "thresholds": PHO_CHAT,
        "revision": 1,
    }
    return BudgetState.model_validate(values | fields)


def locale(language: str) -> Locale:
    code, zone, _ = ZONES[language]
    return Locale(language=code, zone=zone)


def crossed(
    percent: str = "75.00",
    *,
    mark: int = 0,
    language: str = "vi",
    notify_people: bool = True,
    occurrence: int = 1,
    **fields: Any,
) -> ThresholdCrossed:
    """The budget's threshold number `mark` was crossed."""
    budget = state(percent, language=language, **fields)
    return ThresholdCrossed(
        budget=budget,
        locale=locale(language),
        threshold=budget.thresholds[mark],
        notify_people=notify_people,
        occurrence=occurrence,
    )


def enveloped(event: CloudEvent, event_id: UUID | None = None) -> Envelope:
    subject = str(event.budget.budget_id) if isinstance(event, BudgetEvent) else "something"
    return Envelope(event_id or new_id(), "farebox/budget", NOON, subject, event)


def message(event: CloudEvent, topic: str, event_id: UUID | None = None) -> Message:
    """The event as budget publishes it."""
    return Message.carrying(enveloped(event, event_id), topic=topic, key=str(BUDGET_ID))
