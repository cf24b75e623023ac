"""Units of an attempt that have no rate: they wait in suspense beside the charge for what has one. Pure."""

from typing import NamedTuple
from uuid import UUID

from farebox.money import BadAmount, convert
from farebox.pricing import price_unit
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, priced_model, rates_in
from metering.interned import id_of
from metering.tariff import Tariff


class UnitLeft(NamedTuple):
    """So many of a unit that had no rate when its attempt was charged."""

    attempt: Attempt
    unit: str
    used: int

    @property
    def id(self) -> UUID:
        """Of the entry it becomes."""
        return unit_id(self.attempt.event.attempt_id, self.unit)

    @property
    def detail(self) -> str:
        """For people."""
        return f"{'/'.join(priced_model(self.attempt.event))} has no rate for {self.unit}"


class UnitEntry(NamedTuple):
    """A unit's charge on its way into the ledger."""

    left: UnitLeft
    cost_nano_usd: int
    billed_nano: int
    tariff: Tariff


def unit_id(attempt_id: UUID, unit: str) -> UUID:
    """A UUIDv7 of the attempt's millisecond, and so in its partition, computed from both: a unit is charged once."""
    computed = id_of(attempt_id, unit).int & ~(0xF << 76 | 0b11 << 62) & ((1 << 80) - 1)
    return UUID(int=(attempt_id.int >> 80 << 80) | computed | 0x7 << 76 | 0b10 << 62)


def left_of(entry: Entry) -> list[UnitLeft]:
    """The units that an attempt's charge leaves out."""
    return [UnitLeft(entry.attempt, unit, count) for unit, count in entry.left.items()]


def charge_unit(book: PriceBook, left: UnitLeft) -> UnitEntry | None:
    """The unit priced by itself, as of the instant its attempt started; None while it has no rate."""
    event = left.attempt.event
    rates = rates_in(book.catalogue, event)
    cost = None if rates is None else price_unit(rates, event.usage, left.unit)
    if rates is None or cost is None:
        return None
    try:
        billed_nano = convert(cost, event.billing.fx_rate)
    except BadAmount:
        return None
    return UnitEntry(left, cost, billed_nano, book.tariff(rates))
