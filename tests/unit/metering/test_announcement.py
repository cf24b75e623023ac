"""What `usage.priced` says."""

from datetime import UTC, datetime

from farebox.events import SuspenseReason, UsagePriced
from farebox.ids import new_id
from farebox.pricing import Catalogue
from metering import announcement
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, Suspended, charge
from support.attempts import VND, attempt

AT = datetime(2026, 3, 15, tzinfo=UTC)


def test_a_charge_is_announced_with_its_amounts_under_the_entrys_id() -> None:
    event = attempt(billing=VND)
    entry = charge(PriceBook(Catalogue(), 0), Attempt(event, ""))
    assert isinstance(entry, Entry)
    envelope = announcement.priced(entry, AT)
    told = envelope.event
    assert isinstance(told, UsagePriced)
    assert (envelope.id, told.entry_id, told.suspense) == (event.attempt_id, event.attempt_id, None)
    assert (told.cost_nano_usd, told.billed_nano, told.currency) == (6_250_000, 151_043_750_000, "VND")


def test_a_suspended_attempt_is_announced_without_amounts_under_an_id_of_its_own() -> None:
    event, id_ = attempt(), new_id()
    waiting = Suspended(Attempt(event, ""), SuspenseReason.UNKNOWN_MODEL, "which?")
    envelope = announcement.suspended(waiting, AT, id_)
    told = envelope.event
    assert isinstance(told, UsagePriced)
    assert (envelope.id, told.entry_id, told.suspense) == (id_, event.attempt_id, SuspenseReason.UNKNOWN_MODEL)
    assert (told.cost_nano_usd, told.billed_nano, told.price_version) == (None, None, None)


def test_events_are_keyed_by_the_user() -> None:
    waiting = Suspended(Attempt(attempt(), ""), SuspenseReason.UNKNOWN_MODEL, "")
    assert announcement.suspended(waiting, AT, new_id()).subject == "alice"
