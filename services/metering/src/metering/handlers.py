"""What metering does with records."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from farebox.clock import Clock
from farebox.events import Undecodable, decode
from farebox.kafka import Record, Rejected
from farebox.recurring import Recurring
from metering.attempt import Attempt, Refusal, Window, examine
from metering.posting import Posting


class Handlers:
    """One method a topic."""

    def __init__(self, posting: Posting, reread_prices: Recurring, clock: Clock, *, retention: timedelta) -> None:
        self._posting = posting
        self._reread_prices = reread_prices
        self._clock = clock
        self._retention = retention

    async def on_requests(self, records: Sequence[Record]) -> Sequence[Rejected]:
        """`request.completed`: charge each attempt once; what is no attempt is rejected."""
        window = Window.at(self._clock.now(), self._retention)
        attempts: dict[UUID, Attempt] = {}
        rejected: list[Rejected] = []
        for record in records:
            read = _read(record, window)
            if isinstance(read, Rejected):
                rejected.append(read)
            else:
                attempts.setdefault(read.event.attempt_id, read)
        if attempts:
            await self._posting.post(list(attempts.values()))
        return rejected

    async def on_prices(self, _records: Sequence[Record]) -> None:
        """`price.catalogue`: some replica has added prices. The database has them, and is the truth."""
        self._reread_prices.wake()


def _read(record: Record, window: Window) -> Attempt | Rejected:
    try:
        envelope = decode(headers=record.headers, value=record.value)
    except Undecodable as error:
        return Rejected(record, error.reason, error.detail)
    examined = examine(envelope, record.value or b"", window)
    if isinstance(examined, Refusal):
        return Rejected(record, examined.value, f"{envelope.event.type} {envelope.id}")
    return examined
