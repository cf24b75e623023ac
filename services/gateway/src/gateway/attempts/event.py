"""The event `request.completed` as JSON, put together by hand: the model would take a tenth of a call's time.

A contract test holds every shape made here against `RequestCompleted`.
"""

from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson

from farebox.events import RequestCompleted
from farebox.events.envelope import CONTENT_TYPE, SPEC_VERSION
from farebox.kafka import Message
from farebox.pricing import Usage
from farebox.topics import REQUEST_COMPLETED
from gateway.admission.verdict import Reservation
from gateway.dialects.call import NO_ATTRIBUTION
from gateway.journal.record import Entry
from gateway.shares.amount import Amount

SOURCE: Final = "farebox/gateway"

OutcomeName = Literal["success", "provider_error", "client_disconnected", "timeout", "unreachable", "recovered"]

_API: Final = {"openai": "chat.completions", "anthropic": "messages"}
_HEADERS_BEFORE: Final = ("ce_specversion", SPEC_VERSION)
_TYPE: Final = ("ce_type", RequestCompleted.type.encode())
_SOURCE: Final = ("ce_source", SOURCE.encode())
_CONTENT_TYPE: Final = ("content-type", CONTENT_TYPE.encode())


class GatewayEpoch(NamedTuple):
    """This gateway, and the epoch in which it holds shares; 0 before it has one."""

    gateway_id: str
    epoch: int


class Outcome(NamedTuple):
    """How an attempt ended. `status` is the provider's HTTP status, 0 if it gave none.

    Where the usage is not `reported`, the provider may have billed up to the reserve.
    """

    usage: Usage
    served_model: str
    status: int
    name: OutcomeName = "success"
    error_class: str | None = None
    ttft_ms: int | None = None


def event_fields(attempt_id: UUID, request_id: UUID, reservation: Reservation, gateway: GatewayEpoch) -> dict[str, Any]:
    """The part of the event that is known before the attempt is sent. `settle` adds what it came to."""
    call, key_policy, upstream = reservation.call, reservation.key_policy, reservation.upstream
    what_for, who = call.attribution, key_policy.who
    fields: dict[str, Any] = {
        "attempt_id": attempt_id,
        "request_id": request_id,
        "attempt": 1,
        "started_at": reservation.at,
        "principal": {"org": who.org, "team": who.team, "user": who.user, "key": who.key},
        "api": _API[call.dialect],
        "provider": upstream.name,
        "price_provider": upstream.provider,
        "requested_model": call.model,
        "billing": orjson.Fragment(key_policy.settings.billing_json),
        "streamed": call.is_streamed,
        "held": _held(reservation, gateway),
    }
    if what_for is not NO_ATTRIBUTION:
        fields["session"] = what_for.session
        fields["feature"] = what_for.feature
        fields["caller_endpoint"] = what_for.endpoint
        fields["tags"] = dict(what_for.tags)
        fields["cache_hit"] = "caller" if what_for.cache_hit else "none"
    return fields


def _held(reservation: Reservation, gateway: GatewayEpoch) -> dict[str, Any]:
    shares = reservation.hold.shares if reservation.hold is not None else ()
    return {
        "gateway": gateway.gateway_id,
        "epoch": gateway.epoch,
        "windows": [{"budget_id": share.key.budget_id, "start": share.key.start} for share in shares],
        "attributes": reservation.admitted._asdict(),
    }


def settle(fields: dict[str, Any], settled: Amount, uncertain: Amount) -> None:
    """Note what the attempt came to in the windows that hold it; what is uncertain is part of what is settled."""
    fields["held"] |= {"settled": settled._asdict(), "uncertain": uncertain._asdict()}


def event_json(
    fields: dict[str, Any],
    outcome: Outcome,
    *,
    completed_at: datetime,
    latency_ms: int,
    usage_json: bytes | None = None,
) -> bytes:
    """The whole event. `usage_json` saves writing a usage that is written already."""
    event = {
        **fields,
        "completed_at": completed_at,
        "latency_ms": latency_ms,
        "served_model": outcome.served_model,
        "usage": orjson.Fragment(usage_json) if usage_json else vars(outcome.usage),
        "status": outcome.status,
        "outcome": outcome.name,
    }
    if outcome.error_class is not None:
        event["error_class"] = outcome.error_class
    if outcome.ttft_ms is not None:
        event["ttft_ms"] = outcome.ttft_ms
    return orjson.dumps(event)


def message(entry: Entry) -> Message:
    """The Kafka record of a completed attempt: CloudEvents' binary mode, as `farebox.events.headers_of` writes it."""
    key = entry.key.encode()
    headers = (
        _HEADERS_BEFORE,
        ("ce_id", str(entry.id).encode()),
        _SOURCE,
        _TYPE,
        ("ce_time", entry.time.isoformat().encode()),
        ("ce_subject", key),
        _CONTENT_TYPE,
    )
    return Message(REQUEST_COMPLETED.name, key, entry.event, headers)
