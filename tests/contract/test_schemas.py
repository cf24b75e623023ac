"""The committed schemas are what the models publish, and no change of them breaks a subscriber."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from farebox.events import CloudEvent, value_of
from farebox.events.schemas import export, problems
from support.events import events
from support.golden import GOLDEN, Golden

SCHEMAS = Path(__file__).parents[2] / "libs" / "common" / "schemas"

any_type = pytest.mark.parametrize("name", sorted(CloudEvent.registry()))


def committed(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    return schema


def test_the_committed_schemas_are_current_and_compatible() -> None:
    assert problems(SCHEMAS) == []


@any_type
def test_a_schema_is_a_schema_and_says_where_its_events_travel(name: str) -> None:
    schema = committed(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:farebox:event:{name}"
    assert all(schema[word] for word in ("title", "description", "x-topic", "x-key"))


@pytest.mark.parametrize(("name", "golden"), GOLDEN.items(), ids=list(GOLDEN))
def test_a_golden_record_fits_its_schema(name: str, golden: Golden) -> None:
    schema = committed(name)
    Draft202012Validator(schema).validate(golden.value)
    Draft202012Validator(schema["x-headers"]).validate(golden.header_texts)


@any_type
@settings(max_examples=30)
@given(data=st.data())
def test_whatever_is_published_fits_its_schema(name: str, data: st.DataObject) -> None:
    event = data.draw(events(CloudEvent.registry()[name]))
    Draft202012Validator(committed(name)).validate(json.loads(value_of(event)))


def test_export_writes_what_check_accepts(tmp_path: Path) -> None:
    assert export(tmp_path) == []
    assert problems(tmp_path) == []


def test_export_refuses_to_overwrite_what_subscribers_rely_on(tmp_path: Path) -> None:
    export(tmp_path)
    path = tmp_path / "farebox.usage.priced.v1.json"
    promised = json.loads(path.read_text())
    promised["properties"]["refund_nano"] = {"type": "integer"}
    path.write_text(json.dumps(promised))
    assert export(tmp_path) == ["farebox.usage.priced.v1: value.refund_nano was removed"]
    assert "refund_nano" in path.read_text()


def test_a_type_that_was_published_cannot_vanish(tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / "farebox.usage.refunded.v1.json").write_text("{}")
    assert [problem.partition(" ")[0] for problem in problems(tmp_path)] == ["farebox.usage.refunded.v1"]


def test_a_schema_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    assert len(problems(tmp_path)) == len(CloudEvent.registry())
