"""What a journal says when it is read from its beginning. Pure: lines in, state out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from gateway.journal.record import NO_STORY, Damaged, Entry, Kind, Record, Story, entry_of, read, spent_of
from gateway.shares.shares import Spent, WindowKey


class Place(NamedTuple):
    """Where a record is: its segment's number, its offset there and its length, in bytes."""

    segment: int
    offset: int
    length: int


@dataclass(slots=True)
class Replay:
    """Feed it every segment in order.

    `intents` and `completions` are attempts not known to be published, by where their newest record is. `spent` is what
    completed attempts settled in the windows of the epoch; an attempt that only has an intent is not in there yet.
    """

    epoch: int = 0
    story: Story = NO_STORY
    last_record: int = 0
    is_closed: bool = False
    spent: dict[WindowKey, Spent] = field(default_factory=dict)
    intents: dict[UUID, Place] = field(default_factory=dict)
    completions: dict[UUID, Place] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    """Why this is not the whole story, though every line can be read."""

    def segment(self, number: int, lines: Iterable[bytes]) -> int:
        """Take one segment's lines; returns their length.

        A last line without its end was torn by a crash, before anything relied on it, or is room nobody used.
        """
        offset = 0
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._take(Place(number, offset, len(line)), line)
            offset += len(line)
        return offset

    def settle(self, entry: Entry) -> None:
        """Add to what was spent in the windows that held an attempt."""
        for key, measure in entry.windows:
            before = self.spent.get(key) or Spent(key, measure, 0)
            self.spent[key] = before._replace(amount=before.amount + entry.settled[measure])

    def _take(self, place: Place, line: bytes) -> None:
        try:
            record = read(line)
            self._count(record, place)
            self._apply(record, place)
        except (Damaged, KeyError, TypeError, ValueError) as error:
            self.damaged.setdefault(place.segment, f"at byte {place.offset}: {error!r}")

    def _count(self, record: Record, place: Place) -> None:
        if record.number is None:
            self.gaps.append(f"segment {place.segment} is of the version before, which held leases")
        elif self.last_record and record.number != self.last_record + 1:
            self.gaps.append(f"record {record.number} comes after {self.last_record} in segment {place.segment}")
        self.last_record = record.number or self.last_record
        self.is_closed = record.kind is Kind.CLOSED

    def _apply(self, record: Record, place: Place) -> None:
        payload: Any = record.payload
        match record.kind:
            case Kind.CHECKPOINT:
                self.epoch = max(self.epoch, payload["epoch"])
                self.story = Story(payload.get("boot", ""), payload.get("last"))
                self.spent = spent_of(payload) if "spent" in payload else {}
            case Kind.EPOCH:
                self.epoch = payload["epoch"]
                self.story = Story(payload.get("boot", ""))
                self.spent = {}
                self.gaps.clear()  # they are about epochs that are accounted for
            case Kind.INTENT:
                self.intents[UUID(payload["attempt"])] = place
            case Kind.COMPLETED:
                entry = entry_of(payload)
                self.intents.pop(entry.id, None)
                self.completions[entry.id] = place
                self.settle(entry)
            case Kind.PUBLISHED:
                for each in payload["attempts"]:
                    self.completions.pop(UUID(each), None)
                    self.intents.pop(UUID(each), None)
            case Kind.LEASE | Kind.CLOSED:
                pass
