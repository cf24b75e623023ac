"""Leases that were asked for and never answered: they may have been granted, and would hold their rights for ever.

Whoever asks for the like soon asks under the same id, and gets that lease. After RETRY_WITHIN_S the id is given up, and
the service is told. Never both: what is given up the service may close at any time.
"""

from collections.abc import Hashable
from typing import Final
from uuid import UUID

RETRY_WITHIN_S: Final = 5.0
GIVEN_UP_S: Final = 120.0
"""For so long the service is told of a lease that was given up: its request cannot be under way any longer."""


class Unanswered:
    """By what was asked for. Instants are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._open: dict[Hashable, tuple[UUID, float]] = {}
        self._given_up: dict[UUID, float] = {}

    def add(self, key: Hashable, lease_id: UUID, now: float) -> None:
        """A request under this id, made at `now`, had no answer."""
        self._open[key] = lease_id, now

    def again(self, key: Hashable) -> UUID | None:
        """The id to ask under once more."""
        found = self._open.pop(key, None)
        return found[0] if found else None

    def given_up(self, now: float) -> tuple[UUID, ...]:
        """What the service is to be told will never be used."""
        for key, (lease_id, asked_at) in tuple(self._open.items()):
            if now - asked_at >= RETRY_WITHIN_S:
                del self._open[key]
                self._given_up[lease_id] = now + GIVEN_UP_S
        for lease_id in [lease_id for lease_id, until in self._given_up.items() if until <= now]:
            del self._given_up[lease_id]
        return tuple(self._given_up)
