"""Thresholds: marks on a budget, and the judgement which of them spending has reached. Inclusive (PROFILES.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from farebox.events import ThresholdMark

EXHAUSTED: Final = "exhausted"
OVER_LIMIT: Final = "over_limit"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A mark and the spending at which it is reached under a given limit."""

    mark: ThresholdMark
    at: int

    @property
    def id(self) -> str:
        """Stable within a budget: `percent:75` or `amount:1000000000`."""
        return mark_id(self.mark)


Mark: TypeAlias = Threshold | str
"""A threshold, EXHAUSTED or OVER_LIMIT."""


def id_of(mark: Mark) -> str:
    """The mark's name in the books."""
    return mark if isinstance(mark, str) else mark.id


def mark_id(mark: ThresholdMark) -> str:
    if mark.percent is not None:
        return f"percent:{mark.percent.normalize():f}"
    return f"amount:{mark.amount}"


def thresholds(marks: Sequence[ThresholdMark], limit: int) -> tuple[Threshold, ...]:
    """The marks in the order in which spending meets them. A share of the limit is rounded up to a whole unit."""
    return tuple(sorted((Threshold(mark, _at(mark, limit)) for mark in marks), key=lambda each: (each.at, each.id)))


def _at(mark: ThresholdMark, limit: int) -> int:
    if mark.percent is not None:
        numerator, denominator = mark.percent.as_integer_ratio()
        return -(-limit * numerator // (denominator * 100))
    if mark.amount is None:
        raise ValueError("a threshold has neither percent nor amount")
    return mark.amount


def reached(marks: Sequence[Threshold], spent: int) -> tuple[Threshold, ...]:
    """All marks that `spent` has reached. A mark at 0 needs some spending."""
    return tuple(mark for mark in marks if spent > 0 and spent >= mark.at)


def highest(marks: Sequence[Mark]) -> Mark | None:
    """Of the marks one posting reached, the one people hear of: the last threshold, or that it went over the limit."""
    for mark in reversed(marks):
        if mark != EXHAUSTED:
            return mark
    return None
