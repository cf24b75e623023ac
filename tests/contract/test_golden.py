"""What was published once is read for ever, and as the same."""

import json
from typing import Any

import pytest

from farebox.events import CloudEvent, decode, value_of
from support.golden import GOLDEN, RECORDS, Golden

every_golden = pytest.mark.parametrize("golden", RECORDS.values(), ids=list(RECORDS))


def test_every_type_has_a_golden_record_and_none_has_lost_its_type() -> None:
    assert GOLDEN.keys() == CloudEvent.registry().keys()


@every_golden
def test_a_golden_record_decodes_to_what_its_headers_say(golden: Golden) -> None:
    envelope = decode(headers=golden.headers, value=golden.raw)
    said = golden.header_texts
    assert envelope.event.type == said["ce_type"]
    assert (str(envelope.id), envelope.source, envelope.subject) == (
        said["ce_id"],
        said["ce_source"],
        said["ce_subject"],
    )
    assert envelope.time.isoformat() == said["ce_time"]


@every_golden
def test_a_golden_record_written_again_says_the_same(golden: Golden) -> None:
    event = decode(headers=golden.headers, value=golden.raw).event
    written = json.loads(value_of(event))
    assert _kept(written, golden.value) == golden.value
    assert event.model_dump(mode="json", exclude_unset=True) == golden.value


def _kept(written: Any, golden: Any) -> Any:
    """What is written, without fields added since: a golden record is older than they are."""
    if isinstance(golden, dict):
        return {name: _kept(written[name], value) for name, value in golden.items()}
    if isinstance(golden, list):
        return [_kept(each, value) for each, value in zip(written, golden, strict=True)]
    return written
