"""Things that repeat from entry to entry, and are stored once under an id that is computed from them.

No replica asks another, or the database, for an id; what is stored twice is the same.
"""

from collections.abc import Hashable, Mapping
from hashlib import blake2b
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

import orjson

KNOWN_MAX: Final = 50_000
"""Things a replica remembers as stored; beyond it all are forgotten, and offered to the database again."""


def id_of(*parts: object) -> UUID:
    """128 bits of BLAKE2b over the parts as a JSON list, in which null is not the empty string."""
    return UUID(bytes=blake2b(orjson.dumps(parts, default=str), digest_size=16).digest())


class Thing(Hashable, Protocol):
    """What can be interned."""

    @property
    def id(self) -> UUID:
        """Equal for equal things, wherever it is computed."""
        ...


ThingT = TypeVar("ThingT", bound=Thing)


class Interned(Generic[ThingT]):
    """The things of one table that this replica knows to be stored, with their ids."""

    def __init__(self) -> None:
        self._stored: dict[ThingT, UUID] = {}

    def lookup(self) -> "Lookup[ThingT]":
        """For one batch."""
        return Lookup(self._stored)

    def note_stored(self, new: Mapping[ThingT, UUID]) -> None:
        """These have been committed."""
        if len(self._stored) > KNOWN_MAX:
            self._stored.clear()
        self._stored.update(new)


class Lookup(Generic[ThingT]):
    """Ids for one batch. `new` are the things that have yet to be stored."""

    def __init__(self, stored: Mapping[ThingT, UUID]) -> None:
        self._stored = stored
        self.new: dict[ThingT, UUID] = {}

    def id(self, thing: ThingT) -> UUID:
        """The id of a thing, stored or not."""
        id_ = self._stored.get(thing) or self.new.get(thing)
        if id_ is None:
            id_ = self.new[thing] = thing.id
        return id_
