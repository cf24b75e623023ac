"""Which events become attempts, and why the others never can."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from farebox.events import Envelope, PriceListed, value_of
from farebox.ids import new_id
from metering.attempt import Attempt, Refusal, Window, examine
from support.attempts import attempt, enveloped, id_made_at

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
WINDOW = Window.at(NOW, timedelta(days=90))


def examined(envelope: Envelope) -> Attempt | Refusal:
    return examine(envelope, value_of(envelope.event), WINDOW)


def made_at(instant: datetime) -> Envelope:
    return enveloped(attempt(id_made_at(instant)))


def test_an_attempt_keeps_its_json_as_received() -> None:
    envelope = made_at(NOW)
    assert examined(envelope) == Attempt(envelope.event, value_of(envelope.event).decode())  # type: ignore[arg-type]  # it is one


@pytest.mark.parametrize("ago", [timedelta(days=90), timedelta(0), timedelta(days=-1)])
def test_an_attempt_is_taken_from_retention_to_a_day_ahead(ago: timedelta) -> None:
    assert isinstance(examined(made_at(NOW - ago)), Attempt)


@pytest.mark.parametrize("ago", [timedelta(days=90, milliseconds=1), timedelta(days=-1, milliseconds=-1)])
def test_an_id_made_outside_the_window_is_refused(ago: timedelta) -> None:
    assert examined(made_at(NOW - ago)) is Refusal.ABSURD_INSTANT


@pytest.mark.parametrize("started_at", [datetime(2001, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)])
def test_a_start_outside_the_window_is_refused(started_at: datetime) -> None:
    event = attempt(id_made_at(NOW), started_at=started_at)
    assert examined(enveloped(event)) is Refusal.ABSURD_INSTANT


@pytest.mark.parametrize("id_", [uuid4(), UUID(int=0), UUID("01993b2f-0000-7000-0000-000000000000")])
def test_an_id_that_carries_no_instant_is_refused(id_: UUID) -> None:
    event = attempt(id_, started_at=NOW)
    assert examined(enveloped(event)) is Refusal.NOT_UUID7


def test_an_envelope_of_another_attempt_is_refused() -> None:
    assert examined(enveloped(attempt(id_made_at(NOW)), id_=new_id())) is Refusal.ID_MISMATCH


def test_another_type_of_event_is_refused() -> None:
    listed = PriceListed(provider="openai", model="gpt-4o", rows=())
    assert examined(Envelope(new_id(), "test", NOW, "x", listed)) is Refusal.UNEXPECTED_TYPE


def test_a_nul_character_is_refused_because_no_text_column_takes_it() -> None:
    event = attempt(id_made_at(NOW), session="chat\0")
    assert examined(enveloped(event)) is Refusal.NUL_CHARACTER
