"""Who was away, and when: rights that lie locked up there are no false refusal's fault."""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

AFTERWARDS_S: Final = 6.0
"""For so long after its return a gateway's old rights may still be locked up: it has to say what it spent."""


class Absence:
    """Of gateways, and of everything that a grant needs. Instants are monotonic seconds."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    @contextlib.contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Away for as long as the block lasts."""
        self.begins(part)
        try:
            yield
        finally:
            self._until[part] = time.monotonic()

    def begins(self, part: str) -> None:
        """Away, for good unless told otherwise."""
        self._until[part] = float("inf")

    def is_nobodys(self, since: float) -> bool:
        """Whether all were there at that time, and for a while before."""
        return all(until < since - AFTERWARDS_S for until in self._until.values())
