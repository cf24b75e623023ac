"""Lines of the journal: `<crc32 hex> <kind> <number> <json>`, one record each, numbered without a gap.

    checkpoint   at a segment's start: the epoch, what was spent of every window so far, and the epoch's story (below)
    epoch        the budget service gave a new epoch, in this boot; the one before is accounted for
    intent       an attempt is about to be sent: its reserve, and the event to publish should nobody see its end
    completed    how it ended; takes the intent's place
    published    Kafka has these attempts' events
    closed       the process ended in order, and what it wrote is on the disk

A line of any other kind, or one whose checksum is wrong, is damage. Lines of the version before have no number, name
leases (`lease`, and in checkpoints and entries) and are still read.
"""

from binascii import crc32
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from gateway.shares.amount import Amount
from gateway.shares.shares import Spent, WindowKey


class Kind(StrEnum):
    """The second word of a line."""

    CHECKPOINT = "checkpoint"
    EPOCH = "epoch"
    LEASE = "lease"
    INTENT = "intent"
    COMPLETED = "completed"
    PUBLISHED = "published"
    CLOSED = "closed"


_KINDS: Final[dict[bytes, Kind]] = {kind.value.encode(): kind for kind in Kind}
_PREFIXES: Final[dict[Kind, bytes]] = {kind: kind.value.encode() + b" " for kind in Kind}


class Entry(NamedTuple):
    """What an intent or a completion says of its attempt.

    `windows` held it, each with its measure; `settled` is the reserve of an intent and what was settled there of a
    completion. `key` is the Kafka key, `time` the instant of its end (of its start, in an intent), `event` the JSON of
    its RequestCompleted.
    """

    id: UUID
    windows: tuple[tuple[WindowKey, int], ...]
    settled: Amount
    key: str
    time: datetime
    event: bytes


class Story(NamedTuple):
    """Of an epoch: the boot in which all of its records were written, empty if the machine does not name it and None
    where some may be missing; and its last record, once its process is gone."""

    boot: str | None
    last: int | None = None


NO_STORY: Final = Story("")


class Record(NamedTuple):
    """A line as read. `number` is None in lines of the version before."""

    kind: Kind
    number: int | None
    payload: Any


class Damaged(ValueError):
    """A line that was not written by this module as it stands."""


def entry_line(kind: Kind, number: int, entry: Entry) -> bytes:
    payload = {
        "attempt": entry.id,
        "windows": [[key.budget_id, key.start, measure] for key, measure in entry.windows],
        "settled": [*entry.settled],
        "key": entry.key,
        "time": entry.time,
        "event": orjson.Fragment(entry.event),
    }
    return _line(kind, number, payload)


def checkpoint_line(number: int, epoch: int, story: Story, spent: Iterable[Spent]) -> bytes:
    totals = [[each.key.budget_id, each.key.start, each.measure, each.amount] for each in spent]
    return _line(Kind.CHECKPOINT, number, {"epoch": epoch, "boot": story.boot, "last": story.last, "spent": totals})


def epoch_line(number: int, epoch: int, boot: str) -> bytes:
    return _line(Kind.EPOCH, number, {"epoch": epoch, "boot": boot})


def published_line(number: int, attempts: Iterable[UUID]) -> bytes:
    return _line(Kind.PUBLISHED, number, {"attempts": list(attempts)})


def closed_line(number: int) -> bytes:
    return _line(Kind.CLOSED, number, {})


def read(line: bytes) -> Record:
    """A whole line. Raises Damaged."""
    checksum, _, rest = line.rstrip(b"\n").partition(b" ")
    kind, _, payload = rest.partition(b" ")
    number: int | None = None
    try:
        if int(checksum, 16) != crc32(rest):
            raise Damaged("wrong checksum")
        if not payload.startswith(b"{"):
            counted, _, payload = payload.partition(b" ")
            number = int(counted)
        return Record(_KINDS[kind], number, orjson.loads(payload))
    except (KeyError, ValueError) as error:
        raise Damaged(str(error)) from error


def entry_of(payload: dict[str, Any]) -> Entry:
    """An entry from its JSON; one of the version before held windows that only the budget service knows."""
    return Entry(
        id=UUID(payload["attempt"]),
        windows=tuple(
            (WindowKey(UUID(budget), datetime.fromisoformat(start)), measure)
            for budget, start, measure in payload.get("windows", ())
        ),
        settled=Amount(*payload.get("settled", payload.get("amount", ()))),
        key=payload["key"],
        time=datetime.fromisoformat(payload["time"]),
        event=orjson.dumps(payload["event"]),
    )


def spent_of(payload: dict[str, Any]) -> dict[WindowKey, Spent]:
    """The totals of a checkpoint, by window."""
    return {
        key: Spent(key, measure, amount)
        for budget, start, measure, amount in payload["spent"]
        for key in (WindowKey(UUID(budget), datetime.fromisoformat(start)),)
    }


def _line(kind: Kind, number: int, payload: object) -> bytes:
    rest = b"%s%d %s" % (_PREFIXES[kind], number, orjson.dumps(payload))
    return b"%08x %s\n" % (crc32(rest), rest)
