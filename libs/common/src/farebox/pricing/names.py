"""Names of models as callers and providers write them: dated, `-latest`, fine-tuned, and patterns that cover many."""

import re
from typing import Final

ANY: Final = "*"
"""Stands for any characters, and none, in the model of a price row."""

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


def may_overlap(one: str, other: str) -> bool:
    """False only where no name is covered by both patterns."""
    heads = one.partition(ANY)[0], other.partition(ANY)[0]
    tails = one.rpartition(ANY)[2], other.rpartition(ANY)[2]
    return (heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])) and (
        tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])
    )
