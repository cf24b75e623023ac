"""What the tables of the dialects are made of, and how a body is walked along one.

A table says of every field of a body what it can do to the bill:

* harmless: nothing; what it says is text of the body, and its bytes are counted;
* bounded: it makes the call larger, and by how much can be read from the body (tokens, choices, content, tools);
* priced: it changes rates or adds fees (tiers, speed, geography, search, media to make);
* answering: it changes which model answers.

A field that no table knows is noted as unbounded. A key that is a known one but for the case of its letters is refused,
because a provider may read it as that one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from gateway.dialects.findings import Findings
from gateway.dialects.path import Path, render
from gateway.errors import BadCall


class Meaning(StrEnum):
    """What a field can do to the bill."""

    HARMLESS = "harmless"
    BOUNDED = "bounded"
    PRICED = "priced"
    ANSWERING = "answering"


Reader: TypeAlias = Callable[[Any, Path, Findings], None]
"""Takes a field's value, never null, and notes what it says. Raises BadCall where it makes no sense."""


class Shape:
    """An object, or a list of such: what each of its fields means, and how its value is walked in turn.

    `reads` is given the value itself, also where it is a text in the place of the object.
    """

    __slots__ = ("below", "meanings", "names", "reads")

    def __init__(self, meanings: Mapping[str, Meaning], below: Mapping[str, "Inner"], reads: Reader | None) -> None:
        self.meanings = meanings
        self.names = frozenset(meanings)
        self.below = tuple((name, inner, _reads_text(inner)) for name, inner in below.items())
        self.reads = reads


@dataclass(frozen=True, slots=True)
class Kinds:
    """An object, or a list of such, whose field `by` says which shape it has. A text in its place is only text."""

    of: Mapping[str | None, Shape]
    by: str = "type"


Inner: TypeAlias = Shape | Kinds | Reader
Fields: TypeAlias = Mapping[str, Inner | None]
"""Of one meaning: how the value of each is walked; None where it is not."""

_NONE: Final[Fields] = {}


def plain(names: str) -> dict[str, Inner | None]:
    """Fields whose values are not walked."""
    return dict.fromkeys(names.split())


def shape(
    *,
    harmless: Fields = _NONE,
    bounded: Fields = _NONE,
    priced: Fields = _NONE,
    answering: Fields = _NONE,
    reads: Reader | None = None,
) -> Shape:
    """A table of fields, by meaning."""
    groups = {
        Meaning.HARMLESS: harmless,
        Meaning.BOUNDED: bounded,
        Meaning.PRICED: priced,
        Meaning.ANSWERING: answering,
    }
    columns = [(name, meaning, inner) for meaning, fields in groups.items() for name, inner in fields.items()]
    meanings = {name: meaning for name, meaning, _ in columns}
    return Shape(meanings, {name: inner for name, _, inner in columns if inner is not None}, reads)


def joined(one: Shape, more: Shape) -> Shape:
    """One with further fields; where both have a field, the latter counts."""
    below = {name: inner for name, inner, _ in (*one.below, *more.below)}
    return Shape({**one.meanings, **more.meanings}, below, more.reads or one.reads)


def walk(value: Any, inner: Inner, path: Path, found: Findings) -> None:
    """Reads a value along its table. Raises BadCall."""
    if not isinstance(inner, (Shape, Kinds)):
        inner(value, path, found)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            if isinstance(inner, Shape) and type(each) is dict:
                _object(each, inner, (path, index), found)
            else:
                walk(each, inner, (path, index), found)
    elif isinstance(value, dict):
        table = inner if isinstance(inner, Shape) else _kind(value, inner, path, found)
        if table is not None:
            _object(value, table, path, found)
    elif isinstance(inner, Shape) and inner.reads is not None:
        inner.reads(value, path, found)


def _reads_text(inner: Inner) -> bool:
    """Whether there is something to read in a text, too."""
    return not isinstance(inner, Kinds) and (not isinstance(inner, Shape) or inner.reads is not None)


def _kind(value: dict[str, Any], kinds: Kinds, path: Path, found: Findings) -> Shape | None:
    kind = value.get(kinds.by)
    table = kinds.of.get(kind) if kind is None or isinstance(kind, str) else None
    if table is None:
        for name in value:
            if name.casefold() == kinds.by and name != kinds.by:
                raise misspelt((path, name), kinds.by)
        found.is_unbounded(path, kind)
    return table


def _object(value: dict[str, Any], table: Shape, path: Path, found: Findings) -> None:
    if not table.names.issuperset(value):
        _strays(value, table, path, found)
    for name, inner, reads_text in table.below:
        below = value.get(name)
        if below is not None and (reads_text or type(below) is not str):
            walk(below, inner, (path, name), found)
    if table.reads is not None:
        table.reads(value, path, found)


def _strays(value: dict[str, Any], table: Shape, path: Path, found: Findings) -> None:
    for name in value:
        if name in table.meanings:
            continue
        if (meant := name.casefold()) in table.meanings:
            raise misspelt((path, name), meant)
        found.is_unbounded((path, name))


def misspelt(path: Path, meant: str) -> BadCall:
    """A key that is a known one but for the case of its letters."""
    shown = render(path)
    return BadCall(f"`{shown}` would be `{meant}` to some providers: write it so", param=shown)
