"""The body of a call as JSON: parsed, written anew, and nothing lost on the way.

The provider gets what was checked and priced, never the caller's bytes. So whatever parsing would change is refused: a
key that comes twice, an integer beyond 64 bits, a number beyond what a double holds, half a surrogate pair.
"""

import json
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import orjson

from gateway.dialects.path import Path, render
from gateway.errors import BadCall

DIGITS_MAX: Final = 17
"""Of a number that is no integer. More are more than a double holds; 17 are how C, PHP and .NET write one."""

_INTEGER_CHARS_MAX: Final = 20
_FLOAT_CHARS_MAX: Final = 64
_SURELY_KEPT_CHARS: Final = 16
_TOO_LONG: Final = "is a number that cannot be kept as it is"
_SPACE: Final = b" \t\r\n"


class _Fault:
    """Stands in a parsed body for what cannot be kept."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


def parsed(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """The body, and the body written anew. Raises BadCall with the field that does not survive it."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _named(raw) from None
    if not isinstance(body, dict):
        raise BadCall("the body must be a JSON object")
    try:
        written = orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise BadCall("the body is nested too deeply") from None
    if not _is_kept(raw, written) and not _survives(raw):
        raise _named(raw)
    return body, written


def _is_kept(raw: bytes, written: bytes) -> bool:
    """Whether the two are the same but for white space, as they are for most callers.

    Then every number reads as it did, and no key came twice, for it would be missing. White space inside of texts is
    taken from both, and is the same in both.
    """
    return raw == written or raw.translate(None, _SPACE) == written.translate(None, _SPACE)


class _Lost(Exception):
    """The body has something that is not kept."""


def _pairs(found: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in found}) < len(found):
        raise _Lost


def _number(is_kept: Callable[[str], bool]) -> Callable[[str], None]:
    def judge(text: str) -> None:
        if not is_kept(text):
            raise _Lost

    return judge


def _is_kept_integer(text: str) -> bool:
    return len(text) <= _INTEGER_CHARS_MAX and -(1 << 63) <= int(text) < 1 << 64


def _is_kept_float(text: str) -> bool:
    """Whether a double is the number that was written, or as near to it as its 17 digits said."""
    if len(text) <= _SURELY_KEPT_CHARS and "e" not in text.lower():
        return True
    value = float(text)
    if not isfinite(value) or len(text) > _FLOAT_CHARS_MAX:
        return False
    if len(text) <= _SURELY_KEPT_CHARS and abs(value) >= sys.float_info.min:
        return True
    exact = Decimal(text)
    if exact == Decimal(repr(value)):
        return True
    return len(exact.as_tuple().digits) <= DIGITS_MAX and abs(value) >= sys.float_info.min


_JUDGE: Final = json.JSONDecoder(
    object_pairs_hook=_pairs,
    parse_int=_number(_is_kept_integer),
    parse_float=_number(_is_kept_float),
    parse_constant=_number(lambda _: False),
)


def _survives(raw: bytes) -> bool:
    """Reads valid JSON with a parser that shows every key and number."""
    try:
        _JUDGE.decode(raw.decode())
    except _Lost:
        return False
    return True


def _named(raw: bytes) -> BadCall:
    """What is wrong, with the field where it is one field's."""
    try:
        body = _MARKS.decode(raw.decode())
    except (ValueError, RecursionError):
        return BadCall("the body is not valid JSON")
    for path, value in _values(body, None):
        if isinstance(value, _Fault):
            return BadCall(f"`{render(path)}` {value.why}", param=render(path))
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            return BadCall(f"`{render(path)}` has half a surrogate pair, which is no text", param=render(path))
    return BadCall("the body is not valid JSON")


def _marked(found: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in found:
        fields[name] = _Fault("is there twice") if name in fields else value
    return fields


_MARKS: Final = json.JSONDecoder(
    object_pairs_hook=_marked,
    parse_int=lambda text: None if _is_kept_integer(text) else _Fault(_TOO_LONG),
    parse_float=lambda text: None if _is_kept_float(text) else _Fault(_TOO_LONG),
    parse_constant=lambda text: _Fault(f"is {text}, which is no JSON"),
)


def _values(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every value, with its path."""
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if isinstance(value, dict):
            waiting.extend(((path, name), below) for name, below in value.items())
        elif isinstance(value, list):
            waiting.extend(((path, index), below) for index, below in enumerate(value))
