"""Whatever a provider answers, the attempt is charged, and its event is one of the published contract."""

import json
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from farebox.events import decode
from farebox.ids import new_id
from farebox.pricing import Catalogue
from gateway.admission.verdict import Reservation
from gateway.attempts.charge import Charge, charged
from gateway.attempts.event import GatewayEpoch, event_fields, event_json, message, settle
from gateway.attempts.report import Seen, outcome_of
from gateway.dialects.reports import Report
from gateway.dialects.streams import StreamFilter
from gateway.journal.record import Entry as JournalEntry
from gateway.shares.amount import NOTHING
from metering.attempt import Attempt, Window, examine
from metering.charge import Entry, PriceBook, charge
from support.answers import ANSWERS
from support.reservations import NOW, reservation

SCHEMA = Path(__file__).parents[3] / "libs/common/schemas/farebox.request.completed.v1.json"
BOOK = PriceBook(Catalogue(), 0)
DIALECTS = ("openai", "anthropic")

numbers = st.integers(-(2**63), 2**64 - 1) | st.integers(0, 3_000) | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=80) | st.sampled_from(
    ["flex", "flex\u0000", "priority", "fast", "us", "default", "gpt-4o-mini"]
)
leaves = st.none() | st.booleans() | numbers | words
anything = st.recursive(
    leaves, lambda part: st.lists(part, max_size=3) | st.dictionaries(words, part, max_size=3), max_leaves=8
)


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_names, value.values()))
    return set().union(*map(_names, value)) if isinstance(value, list) else set()


NAMES = sorted(set().union(*(_names(example.answer["usage"]) for example in ANSWERS.values())))
parts = st.dictionaries(st.sampled_from(NAMES) | words, anything, max_size=6)
sense = st.fixed_dictionaries(
    dict.fromkeys(("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"), st.integers(0, 3_000))
)
mixed = st.dictionaries(st.sampled_from(NAMES) | words, numbers | parts | st.lists(parts, max_size=3), max_size=6)
usages = anything | mixed | st.builds(lambda base, more: base | more, sense, parts | mixed)
models = st.sampled_from(["gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "gpt-99"]) | anything
reports = st.builds(Report, usages, models, anything, anything)


def told(admitted: Reservation, report: Report, status: int = 200, *, is_final: bool = True) -> tuple[Charge, Any]:
    """The charge, and the event as metering reads it; it fits the published schema."""
    outcome = outcome_of(admitted, report, status, Seen(9, is_final), believed_tokens=5_000_000)
    done = charged(admitted, outcome, BOOK.catalogue.rates_for("openai", outcome.served_model, NOW))
    id_ = new_id()
    fields = event_fields(id_, new_id(), admitted, GatewayEpoch("gw", 3))
    settle(fields, done.amount.plus(done.uncertain), done.uncertain)
    event = event_json(fields, done.outcome, completed_at=NOW + timedelta(seconds=2), latency_ms=2000)
    record = message(JournalEntry(id_, (), NOTHING, admitted.key_policy.who.subject, NOW, event))
    assert len(event) < 32_768
    validator().validate(orjson.loads(event))
    envelope = decode(headers={name: value or b"" for name, value in record.headers}, value=record.value)
    return done, examine(envelope, event, Window.at(NOW, timedelta(days=90), timedelta(minutes=15)))


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))


@cache
def admitted_in(dialect: Any) -> Reservation:
    admitted = reservation()
    return admitted._replace(call=admitted.call._replace(dialect=dialect))


@given(st.sampled_from(DIALECTS), reports, st.integers(0, 999), st.booleans())
def test_nonsense_never_stops_an_attempt_from_being_charged_what_was_settled(
    dialect: str, report: Report, status: int, is_final: bool
) -> None:
    done, attempt = told(admitted_in(dialect), report, status, is_final=is_final)
    assert isinstance(attempt, Attempt)
    entry = charge(BOOK, attempt)
    assert isinstance(entry, Entry)
    assert entry.billed_nano == done.amount.money


@given(
    st.sampled_from(DIALECTS),
    st.lists(
        st.dictionaries(
            st.sampled_from(["choices", "delta", "message", "model", "service_tier", "provider", "type", "usage"]),
            anything,
        ),
        max_size=4,
    ),
)
def test_nonsense_in_a_stream_breaks_nothing(dialect: Any, events: list[dict[str, Any]]) -> None:
    passing = StreamFilter(dialect, strips_usage=True)
    for event in events:
        passing.feed(b"data: " + json.dumps(event).encode(errors="replace") + b"\n\n")
    passing.finish()
    report = Report(passing.usage, passing.model, passing.tier, passing.provider)
    assert passing.guessed_output() >= 0
    _, attempt = told(admitted_in(dialect), report, is_final=passing.is_final)
    assert isinstance(attempt, Attempt)


@pytest.mark.parametrize("status", [0, 200, 599, 600, 999])
def test_a_status_that_http_does_not_have_is_none(status: int) -> None:
    _, attempt = told(reservation(), Report({"prompt_tokens": 1, "completion_tokens": 1}), status)
    assert attempt.event.status == (status if status < 600 else 0)


def test_an_event_has_a_bounded_length_however_much_is_reported() -> None:
    many = {f"counter_{number}": 10**12 + number for number in range(20_000)}
    told(reservation(), Report({"prompt_tokens": -1, "completion_tokens": 1, "parts": [many], **many}, "x" * 256))
    told(reservation(), Report({"prompt_tokens": 1, "completion_tokens": 1, "server_tool_use": many, **many}))
