"""Attempts as the gateway reports them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from farebox.events import (
    BillingTerms,
    CallAttributes,
    Envelope,
    Held,
    HeldWindow,
    LeaseUse,
    Measured,
    Principal,
    RequestCompleted,
)
from farebox.ids import instant_of, new_id
from farebox.kafka import Message
from farebox.pricing import Usage

USD = BillingTerms(currency="USD", fx_rate=Decimal(1), fx_source="org", fx_date=date(2026, 1, 1))
VND = BillingTerms(currency="VND", fx_rate=Decimal(24_167), fx_source="org", fx_date=date(2026, 1, 1))
KRW = BillingTerms(currency="KRW", fx_rate=Decimal(1_300), fx_source="org", fx_date=date(2026, 1, 1))
ALICE = Principal(org="acme", team="chat", user="alice", key="key-a")
BOB = Principal(org="acme", team="search", user="bob", key="key-b")

HALF_A_THOUSAND = Usage(input=500, output=500)
"""At GPT-4o's 2.50 and 10 USD a million: 0.00625 USD (PROFILES.md, pay-per-use)."""

HELD = Held(
    gateway="gateway-1",
    epoch=3,
    windows=(HeldWindow(budget_id=UUID(int=5), start=datetime(2026, 3, 1, tzinfo=UTC)),),
    settled=Measured(money=6_250_000, requests=1, tokens=1_000),
    attributes=CallAttributes(upstream="openai", provider="openai", model="gpt-4o", feature="qa_chat"),
)
LEASED = LeaseUse(lease_id=UUID(int=9), reserve_nano=10_000_000)
"""As gateways of the version before told what they held."""


def id_made_at(instant: datetime) -> UUID:
    """A UUIDv7 as if made at this instant."""
    milliseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | new_id().int & (1 << 80) - 1)


def attempt(id_: UUID | None = None, **changes: Any) -> RequestCompleted:
    """One successful call of GPT-4o by Alice, started when its id was made."""
    attempt_id = id_ or new_id()
    started_at = changes.get("started_at") or instant_of(attempt_id)
    fields: dict[str, Any] = {
        "attempt_id": attempt_id,
        "request_id": new_id(),
        "started_at": started_at,
        "completed_at": started_at + timedelta(milliseconds=900),
        "principal": ALICE,
        "session": "chat-1",
        "feature": "qa_chat",
        "api": "openai.chat",
        "provider": "openai",
        "requested_model": "gpt-4o",
        "served_model": "gpt-4o",
        "usage": HALF_A_THOUSAND,
        "billing": USD,
        "held": HELD,
        "latency_ms": 900,
    }
    return RequestCompleted(**{**fields, **changes})


def enveloped(event: RequestCompleted, id_: UUID | None = None) -> Envelope:
    """The attempt as an event of the gateway."""
    return Envelope(
        id_ or event.attempt_id, "farebox/gateway/test", event.completed_at, event.principal.subject(), event
    )


def message_of(event: RequestCompleted, topic: str) -> Message:
    """The attempt as a record."""
    return Message.carrying(enveloped(event), topic=topic, key=event.principal.subject())
