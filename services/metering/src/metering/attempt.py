"""An attempt as the gateway reports it, and whether the ledger can take it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from farebox.events import Envelope, RequestCompleted

AHEAD_MAX: Final = timedelta(days=1)
"""How far another clock may be ahead of ours."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Attempt(NamedTuple):
    """One attempt: the event, and its JSON as received, which the ledger keeps."""

    event: RequestCompleted
    received: str


class Refusal(StrEnum):
    """Why an event of the contract cannot become a ledger entry, in order of precedence."""

    UNEXPECTED_TYPE = "unexpected_type"
    ID_MISMATCH = "id_mismatch"
    NOT_UUID7 = "not_uuid7"
    ABSURD_INSTANT = "absurd_instant"
    NUL_CHARACTER = "nul_character"


@dataclass(frozen=True, slots=True)
class Window:
    """The instants [earliest, latest] at which an attempt may have been made."""

    earliest: datetime
    latest: datetime
    earliest_ms: int
    latest_ms: int

    @classmethod
    def at(cls, now: datetime, retention: timedelta) -> "Window":
        """From the start of retention (older partitions may be gone, and with them the original) to a day ahead."""
        earliest, latest = now - retention, now + AHEAD_MAX
        return cls(earliest, latest, (earliest - _EPOCH) // _MILLISECOND, (latest - _EPOCH) // _MILLISECOND)


def examine(envelope: Envelope, received: bytes, window: Window) -> Attempt | Refusal:
    """The attempt an event tells of, or why the ledger can never take it."""
    event = envelope.event
    if not isinstance(event, RequestCompleted):
        return Refusal.UNEXPECTED_TYPE
    if envelope.id != event.attempt_id:
        return Refusal.ID_MISMATCH
    bits = envelope.id.int
    if (bits >> 76) & 0xF != 7 or (bits >> 62) & 0b11 != 0b10:  # RFC 9562: version 7, variant 10
        return Refusal.NOT_UUID7
    made_ms = bits >> 80
    if not (window.earliest_ms <= made_ms <= window.latest_ms and window.earliest <= event.started_at <= window.latest):
        return Refusal.ABSURD_INSTANT
    if b"\\u0000" in received:  # PostgreSQL's text cannot hold it, and no name needs it
        return Refusal.NUL_CHARACTER
    return Attempt(event, received.decode())
