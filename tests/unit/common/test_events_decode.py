"""Records that are no events are refused with a reason that stays the same."""

import json
from typing import Any

import pytest

from farebox.events import CloudEvent, Undecodable, UsagePriced, decode
from support.golden import GOLDEN

NAME = UsagePriced.type
PRICED = GOLDEN[NAME]


def refusal(headers: Any = PRICED.headers, value: bytes | None = PRICED.raw) -> Undecodable:
    with pytest.raises(Undecodable) as refused:
        decode(headers=headers, value=value)
    return refused.value


def with_field(**fields: Any) -> bytes:
    return json.dumps(PRICED.value | fields).encode()


def test_a_tombstone_is_no_event() -> None:
    assert refusal(value=None).reason == "no_value"


@pytest.mark.parametrize(
    ("ce_type", "reason"),
    [
        (b"farebox.usage.priced.v2", "unknown_version"),
        (b"farebox.usage.refunded.v1", "unknown_type"),
        (b"v1", "unknown_type"),
        (b"", "unknown_type"),
        (b"\xff", "not_an_event"),
        (None, "not_an_event"),
    ],
)
def test_a_type_that_is_not_of_the_contract_is_refused(ce_type: bytes | None, reason: str) -> None:
    assert refusal(PRICED.headers | {"ce_type": ce_type}).reason == reason


def test_a_record_without_a_type_is_no_event() -> None:
    assert refusal({}).reason == "not_an_event"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce_specversion", b"0.3"),
        ("ce_id", b"1"),
        ("ce_id", b"\xff"),
        ("ce_id", None),
        ("ce_time", b"yesterday"),
        ("ce_time", b"2026-01-01T00:00:00"),
        ("ce_time", b"0001-01-01T00:00:00+14:00"),
        ("ce_time", b"9999-12-31T23:59:59-14:00"),
        ("ce_source", b"\xff"),
        ("ce_subject", None),
    ],
)
def test_an_attribute_that_makes_no_sense_is_refused(header: str, value: bytes | None) -> None:
    assert refusal(PRICED.headers | {header: value}).reason == "bad_attribute"


@pytest.mark.parametrize("header", ["ce_specversion", "ce_id", "ce_time", "ce_source", "ce_subject"])
def test_an_attribute_that_is_missing_is_refused(header: str) -> None:
    headers = {name: value for name, value in PRICED.headers.items() if name != header}
    assert refusal(headers).reason == "bad_attribute"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        with_field(tokens="2414"),
        with_field(tokens=2414.0),
        with_field(tokens=True),
        with_field(billed_nano=2**63),
        with_field(occurred_at=1_700_000_000),
        with_field(occurred_at="2026-03-20T03:04:05"),
        with_field(occurred_at="0001-01-01T00:00:00+14:00"),
        with_field(currency="vnd"),
        with_field(usage_source="guessed"),
        with_field(principal=None),
    ],
)
def test_a_value_of_another_shape_is_refused(value: bytes) -> None:
    assert refusal(value=value).reason == "invalid_event"


def test_an_amount_is_either_there_or_in_suspense() -> None:
    neither, both = with_field(billed_nano=None), with_field(suspense="unknown_model")
    assert refusal(value=neither).reason == refusal(value=both).reason == "invalid_event"


def test_a_refusal_names_the_field_and_repeats_no_input() -> None:
    error = refusal(value=with_field(principal={"org": "secret" * 100, "key": "k"}))
    assert error.detail.startswith("principal.org: ")
    assert "secret" not in str(error)


def test_fields_of_a_newer_producer_are_ignored() -> None:
    value = with_field(refund_nano=7, principal=PRICED.value["principal"] | {"desk": "12"})
    assert decode(headers=PRICED.headers, value=value) == decode(headers=PRICED.headers, value=PRICED.raw)


def test_amounts_beyond_a_double_stay_exact() -> None:
    event = decode(headers=PRICED.headers, value=with_field(billed_nano=2**53 + 1)).event
    assert isinstance(event, UsagePriced)
    assert event.billed_nano == 9_007_199_254_740_993


def test_every_type_carries_its_version() -> None:
    assert all(name.startswith("farebox.") and name.rpartition(".v")[2].isdigit() for name in CloudEvent.registry())
