"""What metering tells the others of an attempt: `usage.priced`, once when it is suspended and once when it is priced."""

from datetime import datetime
from typing import Final
from uuid import UUID

from farebox.events import Envelope, UsagePriced
from metering.charge import Entry, Suspended

SOURCE: Final = "farebox/metering"


def priced(entry: Entry, at: datetime) -> Envelope:
    """An entry was written. The event's id is the entry's."""
    event = entry.attempt.event
    announced = UsagePriced(
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
        cost_nano_usd=entry.cost_nano_usd,
        billed_nano=entry.billed_nano,
        currency=event.billing.currency,
        price_version=entry.price_version,
        requests=event.usage.requests,
        tokens=event.usage.total,
        usage_source=event.usage.source.value,
        lease=event.lease,
    )
    return Envelope(event.attempt_id, SOURCE, at, event.principal.subject(), announced)


def suspended(suspended: Suspended, at: datetime, id_: UUID) -> Envelope:
    """An attempt waits for its price. Its amounts are null, never zero."""
    event = suspended.attempt.event
    announced = UsagePriced(
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
        suspense=suspended.reason,
    )
    return Envelope(id_, SOURCE, at, event.principal.subject(), announced)
