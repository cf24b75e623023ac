"""Which changes of a schema a version may live through, and which need a new one."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from farebox.events.compatibility import breaches

Schema = dict[str, Any]

OLD: Schema = {
    "x-topic": "usage",
    "x-key": "user id",
    "x-headers": {"type": "object", "properties": {"ce_id": {"type": "string"}}, "required": ["ce_id"]},
    "$defs": {
        "Part": {
            "type": "object",
            "properties": {"id": {"type": "string", "minLength": 1, "maxLength": 256}},
            "required": ["id"],
        }
    },
    "type": "object",
    "properties": {
        "part": {"$ref": "#/$defs/Part"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}, "default": []},
        "amount": {"anyOf": [{"type": "integer", "minimum": 0, "exclusiveMaximum": 100}, {"type": "null"}]},
        "mode": {"type": "string", "enum": ["hard", "soft"], "default": "hard"},
        "at": {"type": "string", "format": "date-time"},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "note": {"type": "string"},
        "closed": {"type": "object", "properties": {}, "additionalProperties": False},
    },
    "required": ["part", "amount"],
}

Change = Callable[[Schema], object]


def changed(change: Change) -> Schema:
    new = copy.deepcopy(OLD)
    change(new)
    return new


def field(schema: Schema, name: str) -> Schema:
    found: Schema = schema["properties"][name]
    return found


def part_id(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["Part"]["properties"]["id"]
    return found


def amount(schema: Schema) -> Schema:
    found: Schema = field(schema, "amount")["anyOf"][0]
    return found


BREACHES: dict[str, Change] = {
    "value.note was removed": lambda new: new["properties"].pop("note"),
    "value.part.id was removed": lambda new: new["$defs"]["Part"].update(properties={}, required=[]),
    "value.note became required": lambda new: new["required"].append("note"),
    "value.amount became optional": lambda new: new["required"].remove("amount"),
    "value.extra is new and required": lambda new: (
        new["properties"].update(extra={"type": "string"}),
        new["required"].append("extra"),
    ),
    "value.note can no longer be string": lambda new: field(new, "note").update(type="integer"),
    "value.amount can no longer be null": lambda new: field(new, "amount")["anyOf"].pop(),
    "value.note can now be null": lambda new: new["properties"].update(
        note={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "value.amount can now be string": lambda new: field(new, "amount")["anyOf"].append({"type": "string"}),
    "value.mode can no longer be 'soft'": lambda new: field(new, "mode").update(enum=["hard"]),
    "value.mode can no longer be 'hard'": lambda new: (
        field(new, "mode").pop("enum"),
        field(new, "mode").update(const="soft"),
    ),
    "value.note is now limited to ['a']": lambda new: field(new, "note").update(enum=["a"]),
    "value.mode: the meaning of its absence changed": lambda new: field(new, "mode").update(default="soft"),
    "value.note: the meaning of its absence changed": lambda new: field(new, "note").update(default=""),
    "value.amount: minimum rose from 0 to 1": lambda new: amount(new).update(minimum=1),
    "value.amount: exclusiveMinimum rose from none to 0": lambda new: amount(new).update(exclusiveMinimum=0),
    "value.amount: exclusiveMaximum fell from 100 to 99": lambda new: amount(new).update(exclusiveMaximum=99),
    "value.part.id: minLength rose from 1 to 2": lambda new: part_id(new).update(minLength=2),
    "value.part.id: maxLength fell from 256 to 255": lambda new: part_id(new).update(maxLength=255),
    "value.parts[].id: maxLength fell from 256 to 255": lambda new: part_id(new).update(maxLength=255),
    "value.parts: maxItems fell from none to 9": lambda new: field(new, "parts").update(maxItems=9),
    "value.parts[] can no longer be object": lambda new: field(new, "parts").update(items={"type": "string"}),
    "value.at: format was 'date-time', is 'date'": lambda new: field(new, "at").update(format="date"),
    "value.at: format was 'date-time', is None": lambda new: field(new, "at").pop("format"),
    "value.currency: pattern was '^[A-Z]{3}$', is '^[A-Z]+$'": lambda new: field(new, "currency").update(
        pattern="^[A-Z]+$"
    ),
    "value.tags.* can no longer be string": lambda new: field(new, "tags").update(
        additionalProperties={"type": "integer"}
    ),
    "value no longer takes fields it does not know": lambda new: new.update(additionalProperties=False),
    "x-topic was 'usage', is 'usages'": lambda new: new.update({"x-topic": "usages"}),
    "x-key was 'user id', is None": lambda new: new.pop("x-key"),
    "headers.ce_id became optional": lambda new: new["x-headers"].update(required=[]),
}


@pytest.mark.parametrize(("breach", "change"), BREACHES.items(), ids=list(BREACHES))
def test_a_change_that_breaks_somebody_is_named(breach: str, change: Change) -> None:
    assert breach in breaches(OLD, changed(change))


COMPATIBLE: dict[str, Change] = {
    "nothing": lambda _: None,
    "an optional field": lambda new: new["properties"].update(extra={"type": "string", "default": ""}),
    "an optional field in a part": lambda new: new["$defs"]["Part"]["properties"].update(extra={"type": "null"}),
    "an optional field in a closed object": lambda new: field(new, "closed")["properties"].update(
        extra={"type": "null"}
    ),
    "a value more": lambda new: field(new, "mode")["enum"].append("shadow"),
    "any value": lambda new: field(new, "mode").pop("enum"),
    "wider bounds": lambda new: amount(new).update(minimum=-1, exclusiveMaximum=200),
    "no bounds": lambda new: (amount(new).pop("minimum"), amount(new).pop("exclusiveMaximum")),
    "an opened object": lambda new: field(new, "closed").pop("additionalProperties"),
    "another description": lambda new: new.update(description="says more", title="Other"),
    "a part that moved": lambda new: (
        new["$defs"].update(Piece=new["$defs"]["Part"]),
        new["properties"].update(part={"$ref": "#/$defs/Piece", "description": "the same"}),
    ),
}


@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=list(COMPATIBLE))
def test_a_change_that_breaks_nobody_is_let_through(change: Change) -> None:
    assert breaches(OLD, changed(change)) == []
