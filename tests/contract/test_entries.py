"""Posting's lean reader takes what the contract takes, and as it takes it; it refuses the rest with the same words."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget.posting.entries import LeanEntry, read
from farebox.events import Envelope, Undecodable, UsagePriced, decode, headers_of, value_of
from support.events import events, instants
from support.golden import RECORDS

KIND = UsagePriced.type
HELD = RECORDS[f"{KIND}.held"]
PLACES = [
    "occurred_at",
    "request_id",
    "billed_nano",
    "currency",
    "kind",
    "suspense",
    "tokens",
    "held",
    "held.epoch",
    "held.gateway",
    "held.settled.money",
    "held.windows",
    "held.windows.0.start",
    "held.windows.0.budget_id",
    "held.attributes.model",
    "principal.org",
    "principal.key",
]
TEXTS = [
    "2026-03-02T10:00:00Z",
    "2026-03-02 10:00:00Z",
    "2026-03-02T10:00:00.1234567Z",
    "2026-03-02T10:00:00.9999999+07:00",
    "2026-03-02T10:00:00",
    "1969-12-31T23:59:59Z",
    "2200-01-01T00:00:00Z",
    "2199-12-31T23:59:59.9999999Z",
    "0198f0e27c3a7d4e9b1f2c3d4e5f6071",
    "0198F0E2-7C3A-7D4E-9B1F-2C3D4E5F6071",
    "urn:uuid:0198f0e2-7c3a-7d4e-9b1f-2c3d4e5f6071",
    "USD",
    "USD\n",
    "correction",
    "no_price_at_time",
    "",
    "ế" * 256,
    "x" * 257,
]
numbers = st.integers() | st.floats(allow_nan=False) | st.sampled_from([-1, 1.0, 2**63 - 1, 2**63, -(2**63), 10**30])
values = st.none() | st.booleans() | numbers | st.sampled_from(TEXTS) | st.text(max_size=3) | st.just({"new": 1})


def judged(reader: Any, headers: Mapping[str, Any], value: bytes | None) -> Any:
    """The entry's fields as data, or why it is none."""
    try:
        event = reader(headers=headers, value=value)
    except Undecodable as error:
        return error.reason, error.detail
    return plain(getattr(event, "event", event))


def plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    names = getattr(value, "__struct_fields__", None) or getattr(type(value), "model_fields", None)
    return {name: plain(getattr(value, name)) for name in names} if names else value


def agreed(headers: Mapping[str, Any], value: bytes | None) -> None:
    assert judged(read, headers, value) == judged(decode, headers, value)


ASCII = st.text(st.characters(codec="ascii"))
"""Account ids, and so subjects, have no other characters."""


@given(st.builds(Envelope, st.uuids(), ASCII, instants, ASCII, events(UsagePriced)))
def test_what_metering_writes_is_read_lean_and_in_full(envelope: Envelope) -> None:
    headers, value = dict(headers_of(envelope)), value_of(envelope.event)
    assert isinstance(read(headers=headers, value=value), LeanEntry)
    agreed(headers, value)


@given(place=st.sampled_from(PLACES), value=values)
@example(place="currency", value="USD\n")
@example(place="occurred_at", value="2026-03-02T10:00:00.1234567Z")
@example(place="tokens", value=1.0)
@example(place="held", value={"new": 1})
def test_an_entry_with_one_field_changed_is_judged_alike(place: str, value: Any) -> None:
    event = HELD.value
    *way, last = place.split(".")
    inner = event
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    inner[last] = value
    agreed(HELD.headers, json.dumps(event, ensure_ascii=False).encode())


@given(data=st.data())
def test_an_entry_with_some_bytes_garbled_is_judged_alike(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(HELD.raw)))
    cut = data.draw(st.integers(0, 3))
    garbled = data.draw(
        st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"{", b"0", b".5", b",", b"\x01", b"\xff"])
    )
    agreed(HELD.headers, HELD.raw[:start] + garbled + HELD.raw[start + cut :])


@given(
    name=st.sampled_from(sorted(HELD.headers)),
    garbled=st.none() | st.binary(max_size=4) | st.sampled_from([b"2026-03-02T10:00:00", b"1.0", b"3" * 32, b"3" * 36]),
)
def test_an_entry_with_one_attribute_changed_is_judged_alike(name: str, garbled: Any) -> None:
    agreed({**HELD.headers, name: garbled}, HELD.raw)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_records_as_they_were_once_published_are_judged_alike(name: str) -> None:
    agreed(RECORDS[name].headers, RECORDS[name].raw)
