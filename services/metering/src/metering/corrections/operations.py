"""Making a correction: one transaction, in which prices stand still and nobody else corrects the attempt."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
import structlog

from farebox.clock import Clock
from farebox.events import Envelope, UsagePriced, decode
from farebox.ids import instant_of, new_id
from farebox.kafka import Message
from farebox.outbox import OutboxRelay
from metering import announcement, metrics
from metering.announcement import SOURCE
from metering.attempt import Attempt
from metering.booking import Booking
from metering.charge import Charged, Entry, PriceBook
from metering.corrections.entries import Entries, Noted
from metering.corrections.rules import Booked, Correction, Truth, canonical, correct, event_of, opened, shown
from metering.draft import Draft
from metering.errors import OtherCorrection, UnknownAttempt
from metering.posting import with_newest_prices
from metering.prices import Prices
from metering.store import Store
from metering.tariff import STATED
from metering.units import UnitEntry, UnitLeft

log = structlog.get_logger()


class Wanted(NamedTuple):
    """A correction as it is asked for. `correction_id` is the caller's own, so that asking again does no harm."""

    correction_id: UUID
    attempt_id: UUID
    truth: Truth
    reason: str
    dry_run: bool


class Made(NamedTuple):
    """The answer, as JSON values, and whether it was written just now."""

    answer: Mapping[str, Any]
    is_new: bool


class Corrections:
    """Puts charges right. Raises Transient while the database is away."""

    def __init__(self, store: Store, prices: Prices, relay: OutboxRelay, clock: Clock, *, topic: str) -> None:
        self._store = store
        self._prices = prices
        self._relay = relay
        self._clock = clock
        self._topic = topic

    async def make(self, wanted: Wanted) -> Made:
        """Write the entry that makes the books say what is true, or with `dry_run` answer what would be written.

        The same again is answered as it was. Raises UnknownAttempt, OtherCorrection, Invalid, with nothing changed.
        """
        made = await with_newest_prices(self._prices, partial(self._make, wanted))
        if made.is_new:
            metrics.CORRECTIONS.inc()
            log.info("correction_made", correction=str(wanted.correction_id), attempt=str(wanted.attempt_id))
            self._relay.wake()
        return made

    async def _make(self, wanted: Wanted, book: PriceBook) -> Made:
        at, entry_id = self._clock.now(), new_id()
        noted = Noted(wanted.attempt_id, canonical(wanted.truth), wanted.reason, "")
        await self._store.add_months(instant_of(entry_id), instant_of(entry_id))
        async with self._store.booking(book.revision) as booking:
            entries = Entries(booking.connection, wanted.attempt_id)
            await entries.begin()
            if before := await entries.made(wanted.correction_id):
                return Made(_answer_again(before, noted), is_new=False)
            waiting, units = await entries.waiting(), _nothing_for(await entries.units())
            booked = opened(waiting) if waiting else await entries.booked()
            if booked is None:
                raise UnknownAttempt(f"attempt_id: nothing of attempt {wanted.attempt_id} is in the books")
            correction = correct(booked, wanted.truth, book)
            opening = self._opening(waiting, at) if waiting else None
            told = event_of(correction, entry_id, at)
            charges = [*(opening.priced.values() if opening else ()), *(self._told_of(unit, at) for unit in units)]
            answer = _answer(wanted, booked, correction, [*map(_event, charges), told])
            if not wanted.dry_run:
                if opening:
                    await self._open(booking, opening)
                await booking.write_units(units, at, topic=self._topic)
                await entries.add(correction, entry_id, at, self._message(told))
                noted = noted._replace(answer=orjson.dumps(answer, default=str).decode())
                await entries.note(wanted.correction_id, entry_id, correction.corrects, at, noted)
        return Made(answer, is_new=not wanted.dry_run)

    def _opening(self, waiting: Attempt, at: datetime) -> Draft:
        """A charge of nothing for what waited for its price, so that there is something to correct."""
        draft = self._store.draft(at=at, topic=self._topic)
        draft.add(Charged([Entry(waiting, 0, 0, STATED)], []))
        return draft

    async def _open(self, booking: Booking, opening: Draft) -> None:
        (attempt_id,) = opening.priced
        await self._store.add_months(instant_of(attempt_id), instant_of(attempt_id))
        await booking.write(opening)

    def _told_of(self, unit: UnitEntry, at: datetime) -> Message:
        return announcement.priced_unit(unit, at, topic=self._topic)

    def _message(self, told: UsagePriced) -> Message:
        subject = told.principal.subject()
        envelope = Envelope(told.entry_id, SOURCE, told.priced_at, subject, told)
        return Message.carrying(envelope, topic=self._topic, key=subject)


def _nothing_for(units: Sequence[UnitLeft]) -> list[UnitEntry]:
    """Charges of nothing for units that waited for their rate: the correction has all that the attempt cost."""
    return [UnitEntry(unit, 0, 0, STATED) for unit in units]


_STATED_BEFORE: Final = "was used before for another attempt, usage, amount or reason: nothing was changed"


def _answer_again(before: Noted, noted: Noted) -> Mapping[str, Any]:
    if before._replace(answer="") != noted:
        raise OtherCorrection(f"correction_id: {_STATED_BEFORE}")
    answer: Mapping[str, Any] = orjson.loads(before.answer)
    return answer


def _answer(wanted: Wanted, booked: Booked, correction: Correction, events: Sequence[UsagePriced]) -> dict[str, Any]:
    return {
        "correction_id": wanted.correction_id,
        "attempt_id": wanted.attempt_id,
        "request_id": events[-1].request_id,
        "reason": wanted.reason,
        "dry_run": wanted.dry_run,
        **shown(booked, correction, events),
    }


def _event(message: Message) -> UsagePriced:
    headers = {name: text or b"" for name, text in message.headers}
    event = decode(headers=headers, value=message.value).event
    assert isinstance(event, UsagePriced)  # noqa: S101 - metering announces nothing else of a charge
    return event
