"""An event that was written is read as the same event; what is no event is Undecodable, and nothing worse."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.events import CloudEvent, Envelope, Undecodable, decode, headers_of, value_of
from support.events import events, instants
from support.golden import GOLDEN, Golden

any_type = pytest.mark.parametrize("name", sorted(CloudEvent.registry()))


@any_type
@given(data=st.data())
def test_what_was_written_is_read(name: str, data: st.DataObject) -> None:
    event = events(CloudEvent.registry()[name])
    envelope = data.draw(st.builds(Envelope, st.uuids(), st.text(), instants, st.text(), event))
    assert decode(headers=dict(headers_of(envelope)), value=value_of(envelope.event)) == envelope


numbers = st.integers() | st.floats() | st.sampled_from([2**53 + 1, 2**63, -(2**64), 10**4000])
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text() | st.sampled_from(["1", "NaN", "1e999999", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
header_names = st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject"])


def judged(headers: Mapping[str, Any], value: bytes | None) -> None:
    """Decoding either succeeds, and the event can be written again, or raises Undecodable."""
    try:
        envelope = decode(headers=headers, value=value)
    except Undecodable:
        return
    assert decode(headers=dict(headers_of(envelope)), value=value_of(envelope.event)) == envelope


@given(headers=st.dictionaries(header_names | st.text(), st.none() | st.binary() | st.text()), value=st.binary())
def test_a_record_of_anything_is_judged(headers: dict[str, Any], value: bytes) -> None:
    judged(headers, value)


@any_type
@given(data=st.data())
def test_an_event_with_one_header_garbled_is_judged(name: str, data: st.DataObject) -> None:
    garbled = data.draw(st.none() | st.binary() | st.text() | instants.map(lambda at: at.isoformat().encode()))
    judged(GOLDEN[name].headers | {data.draw(header_names): garbled}, GOLDEN[name].raw)


@any_type
@given(data=st.data())
def test_an_event_with_one_field_garbled_is_judged(name: str, data: st.DataObject) -> None:
    value = GOLDEN[name].value
    place, key = data.draw(st.sampled_from(list(_places(value))))
    place[key] = data.draw(json_values)
    judged(GOLDEN[name].headers, json.dumps(value).encode())


@any_type
@given(data=st.data())
def test_an_event_with_some_bytes_garbled_is_judged(name: str, data: st.DataObject) -> None:
    raw = GOLDEN[name].raw
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(raw)), st.integers(0, len(raw)))))
    judged(GOLDEN[name].headers, raw[:start] + data.draw(st.binary(max_size=8)) + raw[end:])


def _places(value: Any) -> Any:
    """Every (container, key) in a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def test_golden_values_are_fresh_copies() -> None:
    golden: Golden = next(iter(GOLDEN.values()))
    golden.value.clear()
    assert golden.value
