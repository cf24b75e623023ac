"""Which part was away, and when: what may explain a refusal, a lost answer, or a word that came late.

Instants are monotonic seconds. Parts are the stack's, and links as `link <name>`.
"""

import contextlib
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

AFTERWARDS_S: Final = 6.0
"""For so long after its return what went on with a part may still be in disorder: it has to be found again."""
FOR_GOOD: Final = float("inf")


@dataclass(slots=True, eq=False)
class Outage:
    """One part, from when until when; FOR_GOOD while it lasts."""

    part: str
    since: float
    until: float = FOR_GOOD


class Outages:
    """Every outage of a run. Outages of one part may overlap."""

    def __init__(self, outages: Collection[Outage] = ()) -> None:
        self.all: list[Outage] = list(outages)

    @contextlib.contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Away for as long as the block lasts."""
        outage = self.begins(part)
        try:
            yield
        finally:
            outage.until = time.monotonic()

    def begins(self, part: str) -> Outage:
        """Away, for good unless the outage is ended."""
        outage = Outage(part, time.monotonic())
        self.all.append(outage)
        return outage

    def disturbed(self, parts: Collection[str], since: float, until: float) -> bool:
        """Whether one of the parts was away during the span, or a while before it."""
        return any(
            outage.part in parts and outage.since <= until and outage.until + AFTERWARDS_S >= since
            for outage in self.all
        )

    def calm_after(self, parts: Collection[str], since: float, seconds: float) -> float:
        """The first instant from `since` on that has so many seconds behind it, all after `since`, in which every one
        of the parts was there."""
        calm_from = since
        for outage in sorted(self.all, key=lambda each: each.since):
            if outage.part in parts and outage.until > calm_from:
                if outage.since >= calm_from + seconds:
                    break
                calm_from = outage.until
        return calm_from + seconds
