"""What metering tells the others of an attempt on `usage.priced`: once when it is suspended, once when it is priced."""

from datetime import datetime
from typing import Final
from uuid import UUID

from farebox.events import Envelope, RequestCompleted, SuspenseReason, UsagePriced
from metering.charge import Entry, Suspended

SOURCE: Final = "farebox/metering"


def priced(entry: Entry, at: datetime) -> Envelope:
    """An entry was written. The event's id is the entry's."""
    event = entry.attempt.event
    told = _told(event, at, cost_nano_usd=entry.cost_nano_usd, billed_nano=entry.billed_nano, price=entry.price_version)
    return Envelope(event.attempt_id, SOURCE, at, event.principal.subject(), told)


def suspended(waiting: Suspended, at: datetime, id_: UUID) -> Envelope:
    """An attempt waits for its price. Its amounts are null, never zero."""
    event = waiting.attempt.event
    return Envelope(id_, SOURCE, at, event.principal.subject(), _told(event, at, suspense=waiting.reason))


def _told(
    event: RequestCompleted,
    at: datetime,
    *,
    cost_nano_usd: int | None = None,
    billed_nano: int | None = None,
    price: str | None = None,
    suspense: SuspenseReason | None = None,
) -> UsagePriced:
    return UsagePriced(
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
        cost_nano_usd=cost_nano_usd,
        billed_nano=billed_nano,
        currency=event.billing.currency,
        price_version=price,
        requests=event.usage.requests,
        tokens=event.usage.total,
        usage_source=event.usage.source.value,
        lease=event.lease,
        suspense=suspense,
    )
