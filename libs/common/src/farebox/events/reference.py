"""The tables of `docs/events.md`, told by the same schemas that programs read.

python -m farebox.events.reference write    put them between the page's two marks
python -m farebox.events.reference check    the page has them as they are
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from farebox import topics
from farebox.events import CloudEvent
from farebox.events.envelope import EventType
from farebox.events.placement import PLACEMENTS
from farebox.events.schemas import schema_of

PAGE: Final = Path("docs/events.md")
BEGIN: Final = "<!-- written by python -m farebox.events.reference -->"
END: Final = "<!-- end of what it writes -->"
_FRACTION: Final = r"(\.[0-9]"
_DAY_MS: Final = 24 * 3600 * 1000

Schema: TypeAlias = Mapping[str, Any]


def rendered(page: str) -> str:
    """The page with its tables brought up to date. Raises ValueError if it has not both marks, once each."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in before + after:
        raise ValueError(f"the page needs {BEGIN!r} and {END!r}, once each")
    tables = "\n".join(_tables())
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def _tables() -> Iterator[str]:
    types = list(CloudEvent.registry().values())
    yield from _topics(types)
    parts: dict[str, Schema] = {}
    yield from ("", "## Types")
    for event_type in types:
        schema = schema_of(event_type)
        parts |= schema.get("$defs", {})
        yield from ("", f"### `{event_type.type}`", "")
        yield f"`farebox.events.{schema['title']}` on `{schema['x-topic']}`, key: {schema['x-key']}."
        yield from _section(schema)
    yield from ("", "## Parts", "", "Pieces that several types are made of.")
    for name, part in sorted(parts.items()):
        yield from ("", f"### {name}")
        yield from _section(part)


def _topics(types: list[EventType]) -> Iterator[str]:
    yield from ("## Topics", "", "| topic | key | kept | partitions | types |", "| --- | --- | --- | --- | --- |")
    for topic in topics.ALL:
        here = [each for each in types if PLACEMENTS[each].topic is topic]
        key = ", or ".join(dict.fromkeys(PLACEMENTS[each].key for each in here)) or "account id"
        kept = f"{topic.retention_ms // _DAY_MS} days" if topic.retention_ms else "newest of each key (compacted)"
        names = "<br>".join(f"`{each.type}`" for each in here) or "none yet"
        yield f"| `{topic.name}` | {key} | {kept} | {topic.partitions} | {names} |"


def _section(schema: Schema) -> Iterator[str]:
    if description := schema.get("description"):
        yield from ("", description)
    if "enum" in schema:
        yield from ("", f"One of {_values(schema['enum'])}.")
    if properties := schema.get("properties"):
        yield from ("", "| field | type | always there | meaning |", "| --- | --- | --- | --- |")
        for name, field in properties.items():
            there = "yes" if name in schema.get("required", ()) else _default(field)
            meaning = (field.get("description") or _inner_description(field)).replace("\n", " ").replace("|", "\\|")
            yield f"| `{name}` | {_type(field)} | {there} | {meaning} |"


def _default(field: Schema) -> str:
    return "no" if "default" not in field else f"no: {_literal(field['default'])}"


def _literal(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words.get(value, f"`{value}`") if isinstance(value, bool | None) else f"`{value}`"


def _inner_description(field: Schema) -> str:
    return next((each["description"] for each in field.get("anyOf", ()) if "description" in each), "")


def _type(field: Schema) -> str:
    if reference := field.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"])
    if "enum" in field:
        return "one of " + _values(field["enum"])
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'])}"
        case "object":
            return f"map of {_type(field['additionalProperties'])}"
        case kind:
            return f"{kind}{_bounds(field)}"


def _bounds(field: Schema) -> str:
    said = [field[keyword] for keyword in ("format",) if keyword in field]
    if _FRACTION in field.get("pattern", ""):
        said.append("decimal")
    elif "pattern" in field:
        said.append(f"`{field['pattern']}`".replace("|", "\\|"))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said += [f"{sign} {_number(field[keyword])}" for keyword, sign in signs.items() if keyword in field]
    if "maxLength" in field:
        said.append(f"{field.get('minLength', 0)}–{field['maxLength']} characters")
    return f" ({', '.join(said)})" if said else ""


def _number(value: int) -> str:
    return {2**63: "2⁶³", -(2**63): "−2⁶³", 10**12: "10¹²"}.get(value, str(value))


def _values(values: list[object]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox.events.reference", description=__doc__)
    parser.add_argument("command", choices=["write", "check"])
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    page = arguments.page.read_text("utf-8")
    current = rendered(page)
    if arguments.command == "write":
        arguments.page.write_text(current, "utf-8")
    elif page != current:
        print(f"{arguments.page} is not what the models say; run `make contract`", file=sys.stderr)  # noqa: T201 - a command's answer
        raise SystemExit(1)


if __name__ == "__main__":
    main()
