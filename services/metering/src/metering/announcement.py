"""What metering tells on `usage.priced` of an attempt: once when it is suspended, once when it is priced.

The same of a unit that waits beside its attempt's charge.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson

from farebox.events import CONTENT_TYPE, Envelope, Measured, SuspenseReason, UsagePriced
from farebox.kafka import Message
from metering.charge import Entry, Suspended
from metering.units import UnitEntry, UnitLeft

SOURCE: Final = "farebox/metering"

_ID: Final = 1
_SUBJECT: Final = 5


def priced(entries: Iterable[Entry], at: datetime, *, topic: str) -> Iterator[Message]:
    """Entries were written. Each event's id is its entry's.

    The same bytes as `Message.carrying` makes of a `UsagePriced`, in a quarter of the time: every charge passes here,
    and its parts were validated when the attempt was read. A test holds the two against each other.
    """
    headers: list[tuple[str, bytes]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b""),
        ("ce_source", SOURCE.encode()),
        ("ce_type", UsagePriced.type.encode()),
        ("ce_time", at.isoformat().encode()),
        ("ce_subject", b""),
        ("content-type", CONTENT_TYPE.encode()),
    ]
    for entry in entries:
        key = entry.attempt.event.principal.subject().encode()
        headers[_ID] = ("ce_id", str(entry.attempt.event.attempt_id).encode())
        headers[_SUBJECT] = ("ce_subject", key)
        yield Message(topic, key, _json(entry, at), tuple(headers))


def suspended(waiting: Suspended, at: datetime, id_: UUID, *, topic: str) -> Message:
    """An attempt waits for its price. Its amounts are null, never zero."""
    event = waiting.attempt.event
    told = UsagePriced(
        entry_id=event.attempt_id,
        attempt_id=event.attempt_id,
        request_id=event.request_id,
        kind="charge",
        occurred_at=event.started_at,
        priced_at=at,
        principal=event.principal,
        session=event.session,
        feature=event.feature,
        provider=event.provider,
        model=event.served_model,
        cost_nano_usd=None,
        billed_nano=None,
        currency=event.billing.currency,
        price_version=None,
        requests=event.usage.requests,
        tokens=event.usage.total,
        usage_source=event.usage.source.value,
        lease=event.lease,
        held=event.held,
        suspense=waiting.reason,
    )
    subject = event.principal.subject()
    return Message.carrying(Envelope(id_, SOURCE, at, subject, told), topic=topic, key=subject)


def _json(entry: Entry, at: datetime) -> bytes:
    """A `UsagePriced` with its fields in their order."""
    event = entry.attempt.event
    usage, lease, held = event.usage, event.lease, event.held
    fields = {
        "entry_id": event.attempt_id,
        "attempt_id": event.attempt_id,
        "request_id": event.request_id,
        "kind": "charge",
        "occurred_at": event.started_at,
        "priced_at": at,
        "principal": vars(event.principal),
        "session": event.session,
        "feature": event.feature,
        "provider": event.provider,
        "model": event.served_model,
        "cost_nano_usd": entry.cost_nano_usd,
        "billed_nano": entry.billed_nano,
        "currency": event.billing.currency,
        "price_version": entry.tariff.price_version,
        "requests": usage.requests,
        "tokens": usage.total,
        "usage_source": usage.source,
        "lease": None if lease is None else vars(lease),
        "held": None if held is None else orjson.Fragment(held.model_dump_json()),
        "suspense": None,
        "corrects": None,
    }
    return orjson.dumps(fields, option=orjson.OPT_UTC_Z)


def suspended_unit(left: UnitLeft, at: datetime, id_: UUID, *, topic: str) -> Message:
    """It waits for its rate."""
    return _unit(left, None, at, id_, topic)


def priced_unit(entry: UnitEntry, at: datetime, *, topic: str) -> Message:
    """Its entry was written. The event's id is the entry's."""
    return _unit(entry.left, entry, at, entry.left.id, topic)


def _unit(left: UnitLeft, entry: UnitEntry | None, at: datetime, id_: UUID, topic: str) -> Message:
    """No request and no tokens: the charge has them. Nothing held it: what its gateway settled went with the charge."""
    event = left.attempt.event
    held = event.held and event.held.model_copy(update={"windows": (), "settled": Measured(), "uncertain": Measured()})
    told = UsagePriced(
        entry_id=left.id,
        attempt_id=event.attempt_id,
        request_id=event.request_id,
        kind="charge",
        occurred_at=event.started_at,
        priced_at=at,
        principal=event.principal,
        session=event.session,
        feature=event.feature,
        provider=event.provider,
        model=event.served_model,
        cost_nano_usd=None if entry is None else entry.cost_nano_usd,
        billed_nano=None if entry is None else entry.billed_nano,
        currency=event.billing.currency,
        price_version=None if entry is None else entry.tariff.price_version,
        requests=0,
        tokens=0,
        usage_source=event.usage.source.value,
        held=held,
        suspense=SuspenseReason.NO_RATE_FOR_UNIT if entry is None else None,
    )
    subject = event.principal.subject()
    return Message.carrying(Envelope(id_, SOURCE, at, subject, told), topic=topic, key=subject)
