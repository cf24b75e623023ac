"""A batch on its way into the books: the rows and messages that attempts become, and nothing of the attempts.

Attempts are taken a few at a time and let go of: a whole batch of them, walked through stage by stage, is in no
processor's cache when the next stage comes, and that took half as long again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from farebox.kafka import Message
from metering import announcement, rows
from metering.charge import Charged, Entry, Suspended
from metering.dimension import Dimension, dimension_of
from metering.interned import Interned, Lookup
from metering.tariff import Tariff
from metering.terms import Terms, terms_of
from metering.units import UnitLeft, left_of


class UnknownModel(NamedTuple):
    """A model that answered and has no price, and the one that was asked for and priced."""

    provider: str
    model: str
    asked: str


class Stored:
    """What a replica knows to be stored of the tables of things that are stored once."""

    def __init__(self) -> None:
        self.dimensions: Interned[Dimension] = Interned()
        self.terms: Interned[Terms] = Interned()
        self.tariffs: Interned[Tariff] = Interned()


class Draft:
    """Rows for the ledger and for suspense, and what to tell of each, by attempt. An id counts once: the first."""

    def __init__(self, stored: Stored, *, at: datetime, topic: str, new_id: Callable[[], UUID]) -> None:
        self.at = at
        self.rows: list[Sequence[Any]] = []
        self.suspended: list[Suspended] = []
        self.dimensions: Lookup[Dimension] = stored.dimensions.lookup()
        self.terms: Lookup[Terms] = stored.terms.lookup()
        self.tariffs: Lookup[Tariff] = stored.tariffs.lookup()
        self.priced: dict[UUID, Message] = {}
        self.waiting: dict[UUID, Message] = {}
        self.units: dict[UUID, list[UnitLeft]] = {}
        self.unknown_models: dict[UUID, UnknownModel] = {}
        self._topic = topic
        self._new_id = new_id

    def add(self, charged: Charged) -> None:
        """Take some attempts."""
        entries = [entry for entry in charged.entries if entry.attempt.event.attempt_id not in self.priced]
        if len({entry.attempt.event.attempt_id for entry in entries}) < len(entries):
            entries = list({entry.attempt.event.attempt_id: entry for entry in reversed(entries)}.values())[::-1]
        self._add_entries(entries)
        for one in charged.suspended:
            self._add_suspended(one)

    def _add_entries(self, entries: Sequence[Entry]) -> None:
        events = [entry.attempt.event for entry in entries]
        columns = rows.charges(
            entries,
            [self.dimensions.id(dimension_of(event)) for event in events],
            [self.terms.id(terms_of(event)) for event in events],
            [self.tariffs.id(entry.tariff) for entry in entries],
        )
        self.rows += zip(*columns, strict=True)
        self.units.update((entry.attempt.event.attempt_id, left_of(entry)) for entry in entries if entry.left)
        self.unknown_models.update(
            (
                event.attempt_id,
                UnknownModel(event.price_provider or event.provider, event.served_model, event.priced_as.model),
            )
            for event in events
            if event.priced_as is not None and event.priced_as.why == "unknown_model"
        )
        self.priced.update(zip(columns[0], announcement.priced(entries, self.at, topic=self._topic), strict=True))

    def told_of(self, left: UnitLeft) -> Message:
        """That a unit waits for its rate."""
        return announcement.suspended_unit(left, self.at, self._new_id(), topic=self._topic)

    def _add_suspended(self, one: Suspended) -> None:
        id_ = one.attempt.event.attempt_id
        if id_ not in self.waiting:
            self.suspended.append(one)
            self.waiting[id_] = announcement.suspended(one, self.at, self._new_id(), topic=self._topic)
