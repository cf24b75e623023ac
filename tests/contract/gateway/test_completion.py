"""The event is put together by hand for speed: here it is held against its model."""

from datetime import timedelta
from typing import Any

import orjson
import pytest

from farebox.events import Envelope, RequestCompleted, decode, headers_of
from farebox.ids import new_id
from farebox.pricing import Usage
from gateway.admission.verdict import Reservation
from gateway.attempts.event import SOURCE, GatewayEpoch, Outcome, event_fields, event_json, message, settle
from gateway.journal.record import Entry
from gateway.shares.amount import NOTHING, Amount
from support.reservations import BUDGET, NOW, WINDOW, reservation

ATTRIBUTED = {
    b"x-farebox-session": b"s-1",
    b"x-farebox-feature": b"qa_chat",
    b"x-farebox-endpoint": b"/ask",
    b"x-farebox-tags": b"a=1,b=2",
    b"x-farebox-cache-hit": b"true",
}
GATEWAY = GatewayEpoch("gw", 3)
USED = Usage(input=10, cache_read=5, output=7, tool_calls={"web_search": 1}, service_tier="flex")


def made(admitted: Reservation, outcome: Outcome) -> dict[str, Any]:
    fields = event_fields(new_id(), new_id(), admitted, GATEWAY)
    settle(fields, Amount(7, 1, 30), Amount(2, 0, 8))
    event: dict[str, Any] = orjson.loads(
        event_json(fields, outcome, completed_at=NOW + timedelta(seconds=2), latency_ms=2000)
    )
    return event


@pytest.mark.parametrize(
    ("admitted", "outcome"),
    [
        (reservation(), Outcome(USED, "gpt-4o-2024-08-06", 200)),
        (reservation(hard=False), Outcome(USED, "gpt-4o", 200)),
        (reservation(headers=ATTRIBUTED), Outcome(USED, "gpt-4o", 200)),
        (reservation(stream=True), Outcome(USED, "gpt-4o", 200, "client_disconnected", None, 12)),
        (reservation(), Outcome(Usage(requests=0), "gpt-4o", 0, "unreachable", "unreachable")),
        (reservation(), Outcome(USED, "gpt-4o", 0, "recovered")),
    ],
)
def test_the_event_is_one_of_the_contract_and_says_nothing_else(admitted: Reservation, outcome: Outcome) -> None:
    event = made(admitted, outcome)
    model = RequestCompleted.model_validate(event)
    assert event.keys() <= RequestCompleted.model_fields.keys()
    assert model.usage == outcome.usage
    assert model.billing.fx_rate == admitted.key_policy.settings.fx_rate
    assert tuple(model.principal.model_dump().values()) == admitted.key_policy.who
    assert model.held is not None
    assert (model.held.windows == ()) == (admitted.hold is None)
    assert model.outcome == outcome.name


def test_attribution_is_carried() -> None:
    model = RequestCompleted.model_validate(made(reservation(headers=ATTRIBUTED), Outcome(USED, "gpt-4o", 200)))
    assert (model.session, model.feature, model.caller_endpoint) == ("s-1", "qa_chat", "/ask")
    assert model.tags == {"a": "1", "b": "2"}
    assert model.cache_hit == "caller"


def test_what_was_held_where_and_what_was_settled_there_is_told() -> None:
    held = RequestCompleted.model_validate(made(reservation(headers=ATTRIBUTED), Outcome(USED, "gpt-4o", 200))).held
    assert held is not None
    assert (held.gateway, held.epoch) == GATEWAY
    assert [(each.budget_id, each.start) for each in held.windows] == [(BUDGET, WINDOW.key.start)]
    assert (held.settled.money, held.settled.requests, held.settled.tokens) == (7, 1, 30)
    assert (held.uncertain.money, held.uncertain.requests, held.uncertain.tokens) == (2, 0, 8)


def test_the_event_names_the_attributes_the_call_was_admitted_under_and_not_what_served_it() -> None:
    event = made(reservation(headers=ATTRIBUTED), Outcome(USED, "gpt-4o-2024-08-06", 200))
    assert event["held"]["attributes"] == {
        "upstream": "demo",
        "provider": "openai",
        "model": "gpt-4o",
        "feature": "qa_chat",
        "session": "s-1",
    }


def test_no_word_of_the_prompt_is_in_the_event() -> None:
    assert "chào" not in str(made(reservation(), Outcome(USED, "gpt-4o", 200)))


def test_the_record_is_what_the_contract_would_have_written() -> None:
    id_ = new_id()
    admitted = reservation()
    fields = event_fields(id_, new_id(), admitted, GATEWAY)
    settle(fields, NOTHING, NOTHING)
    json = event_json(fields, Outcome(USED, "gpt-4o", 200), completed_at=NOW, latency_ms=0)
    record = message(Entry(id_, (), NOTHING, admitted.key_policy.who.subject, NOW, json))
    headers = {name: value or b"" for name, value in record.headers}
    envelope = decode(headers=headers, value=record.value)
    assert record.headers == headers_of(Envelope(id_, SOURCE, NOW, "ann", envelope.event))
    assert record.key == b"ann"
