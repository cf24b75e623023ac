"""Which events become attempts, and why the others never can."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from farebox.events import Envelope, PriceListed, value_of
from farebox.ids import new_id
from metering.attempt import Attempt, NotBookable, Window, examine
from support.attempts import attempt, enveloped, id_made_at

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
WINDOW = Window.at(NOW, timedelta(days=90), timedelta(minutes=15))


def examined(envelope: Envelope) -> Attempt | NotBookable:
    return examine(envelope, value_of(envelope.event), WINDOW)


def started_at(envelope: Envelope) -> datetime:
    found = examined(envelope)
    assert isinstance(found, Attempt)
    return found.event.started_at


def made_at(instant: datetime) -> Envelope:
    return enveloped(attempt(id_made_at(instant)))


def test_an_attempt_keeps_its_json_as_received() -> None:
    envelope = made_at(NOW)
    assert examined(envelope) == Attempt(envelope.event, value_of(envelope.event).decode())  # type: ignore[arg-type]  # it is one


@pytest.mark.parametrize("ago", [timedelta(days=90), timedelta(0), timedelta(minutes=-15)])
def test_an_attempt_is_dated_as_it_says_from_retention_to_the_lead_time_ahead(ago: timedelta) -> None:
    assert started_at(made_at(NOW - ago)) == NOW - ago


@pytest.mark.parametrize(
    "said",
    [
        NOW - timedelta(days=90, microseconds=1),
        NOW + timedelta(minutes=15, microseconds=1),
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
)
def test_a_start_outside_the_window_comes_from_a_clock_that_is_off_and_is_dated_by_the_books(said: datetime) -> None:
    event = attempt(id_made_at(NOW), started_at=said)
    assert started_at(enveloped(event)) == NOW


@pytest.mark.parametrize("year", [1970, 9998])
def test_an_id_of_a_clock_that_is_off_is_taken(year: int) -> None:
    event = attempt(id_made_at(datetime(year, 6, 1, tzinfo=UTC)), started_at=NOW)
    assert started_at(enveloped(event)) == NOW


def test_an_id_from_beyond_the_calendar_is_refused() -> None:
    event = attempt(UUID("ffffffff-ffff-7000-8000-000000000000"), started_at=NOW)
    assert examined(enveloped(event)) is NotBookable.ABSURD_INSTANT


@pytest.mark.parametrize("id_", [uuid4(), UUID(int=0), UUID("01993b2f-0000-7000-0000-000000000000")])
def test_an_id_that_carries_no_instant_is_refused(id_: UUID) -> None:
    event = attempt(id_, started_at=NOW)
    assert examined(enveloped(event)) is NotBookable.NOT_UUID7


def test_an_envelope_of_another_attempt_is_refused() -> None:
    assert examined(enveloped(attempt(id_made_at(NOW)), id_=new_id())) is NotBookable.ID_MISMATCH


def test_another_type_of_event_is_refused() -> None:
    listed = PriceListed(provider="openai", model="gpt-4o", rows=())
    assert examined(Envelope(new_id(), "test", NOW, "x", listed)) is NotBookable.UNEXPECTED_TYPE


def test_a_nul_character_is_refused_because_no_text_column_takes_it() -> None:
    event = attempt(id_made_at(NOW), session="chat\0")
    assert examined(enveloped(event)) is NotBookable.NUL_CHARACTER
