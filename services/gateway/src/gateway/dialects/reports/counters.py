"""Names and numbers of a report that are fit for an event: bounded in number, length and size, and printable."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from farebox.pricing.usage import MAX_COUNT

COUNTERS_MAX: Final = 8
"""Counters nobody knows that are kept of one report; how many more there were is one of their own."""
NUMBERS_MAX: Final = 32
"""Numbers kept of a report that is not believed."""
DEPTH_MAX: Final = 3
TOOLS_MAX: Final = 16
MORE: Final = "more"

_NONE: Final[Mapping[str, int]] = {}
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/+-]{1,64}")
_TEXT_MAX: Final = 64


def label(value: object) -> str | None:
    """A name as it can be kept, cut if it is long; None if it is none."""
    return word(value[:_TEXT_MAX]) if isinstance(value, str) else None


def word(value: object) -> str | None:
    """Text of at most 64 letters, digits and signs that names have."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def count_of(value: Any) -> int:
    """A count; an absent one is zero. Raises TypeError for what is no whole number."""
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise TypeError(value)
    return value


def part_of(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a report; empty where it is none."""
    part = report.get(name)
    return part if isinstance(part, dict) else {}


def unknown_in(part: Mapping[str, Any], known: frozenset[str], prefix: str = "") -> Mapping[str, int]:
    """The counters of a part that are not among the known: whole numbers above 0, also those one level down."""
    if part.keys() <= known:
        return _NONE
    found: dict[str, int] = {}
    for name, value in part.items():
        if name in known:
            continue
        if isinstance(value, dict) and not prefix:
            found |= unknown_in(value, frozenset(), f"{name}.")
        elif type(value) is int and value > 0:
            found[f"{prefix}{name}"] = min(value, MAX_COUNT)
    return found


def fit(tool_calls: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tool calls under names that an event can carry, no more than TOOLS_MAX of them; and all the others."""
    if not tool_calls:
        return {}, {}
    names = {name for name in tool_calls if word(name)}
    if len(names) > TOOLS_MAX:
        names = set(sorted(names)[:TOOLS_MAX])
    kept = {name: count for name, count in tool_calls.items() if name in names}
    return kept, {name: count_of(count) for name, count in tool_calls.items() if name not in names}


def bounded(counters: Mapping[str, int]) -> dict[str, int]:
    """As many counters as an event carries, under names that it can carry."""
    kept: dict[str, int] = {}
    for name, count in counters.items():
        if len(kept) < COUNTERS_MAX and (fit := label(name)) is not None and fit != MORE:
            kept[fit] = count
    left = len(counters) - len(kept)
    return kept | {MORE: left} if left else kept


def numbers_of(report: object) -> dict[str, str] | None:
    """The numbers of a report as text, by their path; None if it has none."""
    return dict(_numbers(report, "", DEPTH_MAX, [NUMBERS_MAX])) or None


def _numbers(part: object, path: str, depth: int, left: list[int]) -> Iterator[tuple[str, str]]:
    if isinstance(part, (int, float)) and not isinstance(part, bool):
        if left[0] and (name := label(path)) is not None:
            left[0] -= 1
            yield name, repr(part)[:_TEXT_MAX]
    elif depth and isinstance(part, dict):
        for name, value in part.items():
            yield from _numbers(value, f"{path}.{name}" if path else str(name), depth - 1, left)
    elif depth and isinstance(part, list):
        for place, value in enumerate(part[:NUMBERS_MAX]):
            yield from _numbers(value, f"{path}.{place}", depth - 1, left)
