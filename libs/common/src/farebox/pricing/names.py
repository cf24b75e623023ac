"""Names of models as callers and providers write them: dated, `-latest`, fine-tuned, and patterns that cover many."""

import re
from typing import Final

ANY: Final = "*"
"""Stands for any characters, and none, in the model of a price row."""

_FILLER: Final = "~"
"""What no vendor's name has in it."""

_DATED: Final = re.compile(r"[-@](?:20\d\d-\d\d-\d\d|20\d{6}|latest)$")
_FINE_TUNED: Final = re.compile(r"^ft:|[.:]ft-")
"""OpenAI's `ft:<model>:<owner>::<id>`, Azure's and others' `<model>.ft-<id>`."""


def undated(model: str) -> str:
    """The name without its date or `-latest`. Four digits stay: they are generations, each with its own price."""
    return _DATED.sub("", model)


def is_fine_tuned(model: str) -> bool:
    """Whether the name says that somebody trained the model further: it never costs what its base does."""
    return _FINE_TUNED.search(model) is not None


def is_pattern(model: str) -> bool:
    return ANY in model


def covers(pattern: str, model: str) -> bool:
    """Whether a model's name is one that the pattern stands for, both in lower case."""
    first, *rest = pattern.split(ANY)
    if not rest:
        return pattern == model
    *middle, last = rest
    if len(model) < len(first) + len(last) or not (model.startswith(first) and model.endswith(last)):
        return False
    at, end = len(first), len(model) - len(last)
    for part in middle:
        found = model.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def literal_length(pattern: str) -> int:
    """How many characters a pattern fixes: the longer goes first."""
    return len(pattern.replace(ANY, ""))


def meeting(one: str, other: str) -> str | None:
    """A name that both patterns cover; None if there is none."""
    parts = [pattern.split(ANY) for pattern in (one, other)]
    head = max((each[0] for each in parts), key=len)
    tail = max((each[-1] for each in parts), key=len)
    if not all(head.startswith(each[0]) and tail.endswith(each[-1]) for each in parts):
        return None
    return _FILLER.join([head, *(middle for each in parts for middle in each[1:-1]), tail])
