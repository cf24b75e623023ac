"""The time that the books go by, whatever the clock of the machine says."""

from datetime import datetime, timedelta

from farebox.clock import Clock
from metering.store import Store


class BooksClock:
    """PostgreSQL's clock, which all replicas share: asked now and then, carried on by the monotonic one meanwhile."""

    def __init__(self, store: Store, machine: Clock) -> None:
        self._store = store
        self._machine = machine
        self._set: tuple[datetime, float] | None = None

    async def set(self) -> None:
        """Ask PostgreSQL. Raises Transient while it is away."""
        self._set = await self._store.now(), self._machine.monotonic()

    async def known(self) -> None:
        """Wait until PostgreSQL has been asked once. Raises Transient while it is away."""
        if self._set is None:
            await self.set()

    def now(self) -> datetime:
        """By the machine's own clock until PostgreSQL has been asked."""
        if self._set is None:
            return self._machine.now()
        asked, since = self._set
        return asked + timedelta(seconds=self._machine.monotonic() - since)

    def monotonic(self) -> float:
        return self._machine.monotonic()
