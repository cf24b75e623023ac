"""Whether a new schema of an event type may stand in for the old one, within one version.

May: add an optional field, widen a bound, add a value to an enumeration, say more in a description.
May not: whatever makes an event written under the old schema unreadable, or takes from a subscriber something
the old schema promised. That needs a new version of the type.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

_LOWER_BOUNDS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT: Final = ("format", "pattern", "multipleOf", "uniqueItems", "propertyNames")
_PLACE: Final = ("x-topic", "x-key")
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a schema document, references followed."""

    schema: Schema
    document: Schema

    @classmethod
    def of(cls, schema: Any, document: Schema) -> "_Node":
        if not isinstance(schema, Mapping):  # `true` and `false` are schemas, too
            return cls({} if schema else {"not": {}}, document)
        if reference := schema.get("$ref"):
            return cls.of(document["$defs"][reference.removeprefix("#/$defs/")], document)
        return cls(schema, document)

    def child(self, keyword: str) -> "_Node":
        return _Node.of(self.schema.get(keyword, True), self.document)

    @property
    def properties(self) -> dict[str, "_Node"]:
        return {name: _Node.of(each, self.document) for name, each in self.schema.get("properties", {}).items()}

    @property
    def required(self) -> frozenset[str]:
        return frozenset(self.schema.get("required", ()))

    @property
    def values(self) -> tuple[Any, ...] | None:
        if "const" in self.schema:
            return (self.schema["const"],)
        return tuple(self.schema["enum"]) if "enum" in self.schema else None

    def alternatives(self) -> dict[str, "_Node"]:
        """The node by JSON type; a second alternative of one type is told apart by its place."""
        kinds: dict[str, _Node] = {}
        for each in self.schema.get("anyOf", (self.schema,)):
            node = _Node.of(each, self.document)
            kind = node.schema.get("type", "anything")
            kinds[kind if kind not in kinds else f"{kind} (alternative {len(kinds) + 1})"] = node
        return kinds


def breaches(old: Schema, new: Schema) -> list[str]:
    """Why `new` may not replace `old`, a sentence each that begins with the field's path; empty if it may."""
    placed = [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}" for name in _PLACE if old.get(name) != new.get(name)
    ]
    headers = _compare("headers", _Node.of(old.get("x-headers", True), old), _Node.of(new.get("x-headers", True), new))
    return [*placed, *headers, *_compare("value", _Node.of(old, old), _Node.of(new, new))]


def _compare(path: str, old: _Node, new: _Node) -> Iterator[str]:
    before, after = old.alternatives(), new.alternatives()
    yield from (f"{path} can no longer be {kind}" for kind in before if kind not in after)
    yield from (f"{path} can now be {kind}" for kind in after if kind not in before)
    for kind in before.keys() & after.keys():
        yield from _values(path, before[kind], after[kind])
        yield from _constraints(path, before[kind].schema, after[kind].schema)
        yield from _fields(path, before[kind], after[kind])
        yield from _compare_if_any(f"{path}[]", "items", before[kind], after[kind])
        yield from _extra_fields(path, before[kind], after[kind])


def _values(path: str, old: _Node, new: _Node) -> Iterator[str]:
    if new.values is None:
        return
    if old.values is None:
        yield f"{path} is now limited to {list(new.values)}"
    else:
        yield from (f"{path} can no longer be {value!r}" for value in old.values if value not in new.values)


def _constraints(path: str, old: Schema, new: Schema) -> Iterator[str]:
    for keyword in _LOWER_BOUNDS:
        if keyword in new and (keyword not in old or new[keyword] > old[keyword]):
            yield f"{path}: {keyword} rose from {old.get(keyword, 'none')} to {new[keyword]}"
    for keyword in _UPPER_BOUNDS:
        if keyword in new and (keyword not in old or new[keyword] < old[keyword]):
            yield f"{path}: {keyword} fell from {old.get(keyword, 'none')} to {new[keyword]}"
    for keyword in _EXACT:
        if old.get(keyword) != new.get(keyword):
            yield f"{path}: {keyword} was {old.get(keyword)!r}, is {new.get(keyword)!r}"


def _fields(path: str, old: _Node, new: _Node) -> Iterator[str]:
    before, after = old.properties, new.properties
    yield from (f"{path}.{name} was removed" for name in before if name not in after)
    yield from (f"{path}.{name} is new and required" for name in after if name not in before and name in new.required)
    for name in before.keys() & after.keys():
        field = f"{path}.{name}"
        if (name in old.required) != (name in new.required):
            yield f"{field} became {'required' if name in new.required else 'optional'}"
        if _default(before[name]) != _default(after[name]):
            yield f"{field}: the meaning of its absence changed"
        yield from _compare(field, before[name], after[name])


def _default(node: _Node) -> object:
    return node.schema.get("default", _ABSENT)


def _extra_fields(path: str, old: _Node, new: _Node) -> Iterator[str]:
    """Fields that `properties` does not name: of a map, or of a newer producer."""
    before, after = (node.schema.get("additionalProperties", True) for node in (old, new))
    if before is not False and after is False:
        yield f"{path} no longer takes fields it does not know"
    elif isinstance(before, Mapping) or isinstance(after, Mapping):
        yield from _compare(f"{path}.*", old.child("additionalProperties"), new.child("additionalProperties"))


def _compare_if_any(path: str, keyword: str, old: _Node, new: _Node) -> Iterator[str]:
    if keyword in old.schema or keyword in new.schema:
        yield from _compare(path, old.child(keyword), new.child(keyword))
