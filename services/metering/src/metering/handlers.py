"""What metering does with records."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from farebox.events import Undecodable, decode
from farebox.events.price import AS_OF_KEY
from farebox.kafka import Offsets, Record, Rejected
from farebox.recurring import Recurring
from metering import metrics
from metering.attempt import Attempt, NotBookable, Window, examine
from metering.books_clock import BooksClock
from metering.posting import Posting

log = structlog.get_logger()

READ_AT_ONCE: Final = 50
"""Records read before the first of them is charged: few enough to stay in the processor's cache meanwhile."""


class Handlers:
    """One method a topic."""

    def __init__(
        self,
        posting: Posting,
        reread_prices: Recurring,
        clock: BooksClock,
        offsets: Offsets,
        *,
        retention: timedelta,
        lead: timedelta,
    ) -> None:
        self._posting = posting
        self._offsets = offsets
        self._reread_prices = reread_prices
        self._clock = clock
        self._retention = retention
        self._lead = lead

    async def on_requests(self, records: Sequence[Record]) -> Sequence[Rejected]:
        """`request.completed`: charge each attempt once; what is no attempt is rejected."""
        await self._clock.known()
        reading = Reading(records, Window.at(self._clock.now(), self._retention, self._lead))
        await self._posting.post(reading, partial(self._offsets.note, records=records))
        if reading.redated:
            metrics.REDATED.inc(reading.redated)
            log.warning("attempts_redated", attempts=reading.redated, now=self._clock.now().isoformat())
        return reading.rejected

    async def on_prices(self, records: Sequence[Record]) -> None:
        """`price.catalogue`: some replica has added prices. The database has them, and is the truth."""
        if any(record.key != AS_OF_KEY.encode() for record in records):
            self._reread_prices.wake()


class Reading:
    """The attempts among records, read a few at a time.

    Once all have been read, `rejected` is complete, and `redated` says how many came from a clock that is off.
    """

    def __init__(self, records: Sequence[Record], window: Window) -> None:
        self.rejected: list[Rejected] = []
        self.redated = 0
        self._records = records
        self._window = window

    def __iter__(self) -> Iterator[list[Attempt]]:
        self.rejected.clear()
        self.redated = 0
        for start in range(0, len(self._records), READ_AT_ONCE):
            yield [*filter(None, map(self._read, self._records[start : start + READ_AT_ONCE]))]

    def _read(self, record: Record) -> Attempt | None:
        try:
            envelope = decode(headers=record.headers, value=record.value)
        except Undecodable as error:
            self.rejected.append(Rejected(record, error.reason, error.detail))
            return None
        examined = examine(envelope, record.value or b"", self._window)
        if isinstance(examined, NotBookable):
            self.rejected.append(Rejected(record, examined.value, f"{envelope.event.type} {envelope.id}"))
            return None
        if examined.event is not envelope.event:
            self.redated += 1
        return examined
