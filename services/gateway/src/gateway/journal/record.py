"""Lines of the journal: `<crc32 hex> <kind> <json>`, one record each.

    checkpoint   at a segment's start: the epoch, and every lease in hand with what was spent of it so far
    epoch        the budget service gave a new epoch; the leases of those before are reported and over
    lease        a lease came into hand; written before it is used
    intent       an attempt is about to be sent: its reserve, and the event to publish should nobody see its end
    completed    how it ended; takes the intent's place
    published    Kafka has these attempts' events

A line of any other kind, or one whose checksum is wrong, is damage.
"""

from binascii import crc32
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from gateway.admission.estimate import Amount
from gateway.shares.leases import Share, Total


class Kind(StrEnum):
    """The second word of a line."""

    CHECKPOINT = "checkpoint"
    EPOCH = "epoch"
    LEASE = "lease"
    INTENT = "intent"
    COMPLETED = "completed"
    PUBLISHED = "published"


_KINDS: Final[dict[bytes, Kind]] = {kind.value.encode(): kind for kind in Kind}
_PREFIXES: Final[dict[Kind, bytes]] = {kind: kind.value.encode() + b" " for kind in Kind}


class Entry(NamedTuple):
    """What an intent or a completion says of its attempt.

    `amount` is the reserve of an intent and the settled amount of a completion; `key` is the Kafka key, `time` the
    instant of its end (of its start, in an intent), `event` the JSON of its RequestCompleted.
    """

    id: UUID
    lease_id: UUID | None
    amount: Amount
    key: str
    time: datetime
    event: bytes


class Damaged(ValueError):
    """A line that was not written by this module as it stands."""


def entry_line(kind: Kind, entry: Entry) -> bytes:
    payload = {
        "attempt": entry.id,
        "lease": entry.lease_id,
        "amount": [*entry.amount],
        "key": entry.key,
        "time": entry.time,
        "event": orjson.Fragment(entry.event),
    }
    return _line(kind, payload)


def lease_line(total: Total) -> bytes:
    return _line(Kind.LEASE, _total(total))


def checkpoint_line(epoch: int, totals: Iterable[Total]) -> bytes:
    return _line(Kind.CHECKPOINT, {"epoch": epoch, "leases": [_total(total) for total in totals]})


def epoch_line(epoch: int) -> bytes:
    return _line(Kind.EPOCH, {"epoch": epoch})


def published_line(attempts: Iterable[UUID]) -> bytes:
    return _line(Kind.PUBLISHED, {"attempts": list(attempts)})


def read(line: bytes) -> tuple[Kind, Any]:
    """The kind and the JSON of a whole line. Raises Damaged."""
    checksum, _, rest = line.rstrip(b"\n").partition(b" ")
    kind, _, payload = rest.partition(b" ")
    try:
        if int(checksum, 16) != crc32(rest):
            raise Damaged("wrong checksum")
        return _KINDS[kind], orjson.loads(payload)
    except (KeyError, ValueError) as error:
        raise Damaged(str(error)) from error


def entry_of(payload: dict[str, Any]) -> Entry:
    """An entry from its JSON."""
    lease = payload["lease"]
    return Entry(
        id=UUID(payload["attempt"]),
        lease_id=None if lease is None else UUID(lease),
        amount=Amount(*payload["amount"]),
        key=payload["key"],
        time=datetime.fromisoformat(payload["time"]),
        event=orjson.dumps(payload["event"]),
    )


def total_of(payload: dict[str, Any]) -> Total:
    """A lease from its JSON."""
    shares = tuple(Share(UUID(budget), measure, granted) for budget, measure, granted in payload["shares"])
    return Total(UUID(payload["lease"]), shares, Amount(*payload["spent"]))


def _total(total: Total) -> dict[str, object]:
    return {
        "lease": total.lease_id,
        "shares": [[*share] for share in total.shares],
        "spent": [*total.spent],
    }


def _line(kind: Kind, payload: object) -> bytes:
    rest = _PREFIXES[kind] + orjson.dumps(payload)
    return b"%08x %s\n" % (crc32(rest), rest)
