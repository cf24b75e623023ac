"""The contract as JSON Schemas, one file a type and version.

    python -m farebox.events.schemas export    write libs/common/schemas; refuses an incompatible change
    python -m farebox.events.schemas check     the files are what the models say

A schema describes what is published: the value as JSON, and under `x-topic`, `x-key` and `x-headers` its record.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from farebox.events import CONTENT_TYPE, CloudEvent
from farebox.events.compatibility import breaches
from farebox.events.envelope import SPEC_VERSION, EventType
from farebox.events.placement import PLACEMENTS

FOLDER: Final = Path("libs/common/schemas")
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _WithoutFieldTitles(GenerateJsonSchema):
    """A title that repeats the field's name says nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def schema_of(event_type: EventType) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a type. Raises KeyError for a type without a topic."""
    placement = PLACEMENTS[event_type]
    value = event_type.model_json_schema(mode="serialization", schema_generator=_WithoutFieldTitles)
    return {
        "$schema": _DIALECT,
        "$id": f"urn:farebox:event:{event_type.type}",
        "title": value.pop("title"),
        "description": value.pop("description"),
        "x-topic": placement.topic.name,
        "x-key": placement.key,
        "x-headers": _headers(event_type),
        **value,
    }


def _headers(event_type: EventType) -> dict[str, Any]:
    attributes: dict[str, dict[str, str]] = {
        "ce_specversion": {"const": SPEC_VERSION.decode(), "type": "string"},
        "ce_id": {"format": "uuid", "type": "string", "description": "The same in every copy of the event."},
        "ce_source": {"type": "string", "description": "The service that says so."},
        "ce_type": {"const": event_type.type, "type": "string"},
        "ce_time": {"format": "date-time", "type": "string", "description": "When it happened, by the producer."},
        "ce_subject": {"type": "string", "description": PLACEMENTS[event_type].subject},
        "content-type": {"const": CONTENT_TYPE, "type": "string"},
    }
    return {"type": "object", "properties": attributes, "required": list(attributes)}


def text_of(event_type: EventType) -> str:
    """The schema as its file has it."""
    return json.dumps(schema_of(event_type), indent=2, ensure_ascii=False) + "\n"


def export(folder: Path) -> list[str]:
    """Write the schema of every type; or nothing, and answer each breach of compatibility with what is there."""
    if found := _breaches(folder):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    for name, event_type in CloudEvent.registry().items():
        (folder / f"{name}.json").write_text(text_of(event_type), "utf-8")
    return []


def problems(folder: Path) -> list[str]:
    """In what the files differ from the models; empty when they say the same."""
    stale = [
        f"{name}: {folder / name}.json is not what the model says; run `make contract`"
        for name, event_type in CloudEvent.registry().items()
        if _committed(folder, name) != text_of(event_type)
    ]
    return [*_breaches(folder), *stale]


def _breaches(folder: Path) -> list[str]:
    registry = CloudEvent.registry()
    found = [
        f"{path.stem} was removed; a type is retired by no longer being sent"
        for path in sorted(folder.glob("*.json"))
        if path.stem not in registry
    ]
    for name, event_type in registry.items():
        if committed := _committed(folder, name):
            new = json.loads(text_of(event_type))
            found += [f"{name}: {breach}" for breach in breaches(json.loads(committed), new)]
    return found


def _committed(folder: Path, name: str) -> str | None:
    path = folder / f"{name}.json"
    return path.read_text("utf-8") if path.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox.events.schemas", description=__doc__)
    parser.add_argument("command", choices=["export", "check"])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    found = (export if arguments.command == "export" else problems)(arguments.folder)
    for problem in found:
        print(problem, file=sys.stderr)  # noqa: T201 - a command's answer
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
