"""What a journal says when it is read from its beginning. Pure: lines in, state out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from gateway.admission.estimate import Amount
from gateway.journal.record import Damaged, Kind, read, total_of
from gateway.shares.leases import Total


class Place(NamedTuple):
    """Where a record is: its segment's number, its offset there and its length, in bytes."""

    segment: int
    offset: int
    length: int


@dataclass(slots=True)
class Replay:
    """Feed it every segment in order.

    `intents` and `completions` are attempts not known to be published, by where their newest record is. `leases` are
    those in hand, with what completed attempts spent; an attempt that only has an intent is not in there yet.
    """

    epoch: int = 0
    leases: dict[UUID, Total] = field(default_factory=dict)
    intents: dict[UUID, Place] = field(default_factory=dict)
    completions: dict[UUID, Place] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)

    def segment(self, number: int, lines: Iterable[bytes]) -> None:
        """Take one segment's lines. A last line without its end was torn by a crash, before anything relied on it."""
        offset = 0
        for line in lines:
            if line.endswith(b"\n"):
                self._take(Place(number, offset, len(line)), line)
            offset += len(line)

    def _take(self, place: Place, line: bytes) -> None:
        try:
            kind, payload = read(line)
            self._apply(kind, payload, place)
        except (Damaged, KeyError, TypeError, ValueError) as error:
            self.damaged.setdefault(place.segment, f"at byte {place.offset}: {error!r}")

    def _apply(self, kind: Kind, payload: Any, place: Place) -> None:
        match kind:
            case Kind.CHECKPOINT:
                self.epoch = max(self.epoch, payload["epoch"])
                totals = [total_of(each) for each in payload["leases"]]
                self.leases = {total.lease_id: total for total in totals}
            case Kind.EPOCH:
                self.epoch = payload["epoch"]
                self.leases = {}
            case Kind.LEASE:
                total = total_of(payload)
                self.leases[total.lease_id] = total
            case Kind.INTENT:
                self.intents[UUID(payload["attempt"])] = place
            case Kind.COMPLETED:
                id_, lease = UUID(payload["attempt"]), payload["lease"]
                self.intents.pop(id_, None)
                self.completions[id_] = place
                if lease is not None:
                    self.spend(UUID(lease), Amount(*payload["amount"]))
            case Kind.PUBLISHED:
                for each in payload["attempts"]:
                    self.completions.pop(UUID(each), None)
                    self.intents.pop(UUID(each), None)

    def spend(self, lease_id: UUID | None, amount: Amount) -> None:
        """Add to what was spent of a lease, if it is still in hand."""
        if lease_id is not None and (total := self.leases.get(lease_id)):
            spent = Amount(*(a + b for a, b in zip(total.spent, amount, strict=True)))
            self.leases[lease_id] = total._replace(spent=spent)
