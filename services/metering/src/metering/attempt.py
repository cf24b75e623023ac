"""An attempt as the gateway reports it, and whether the ledger can take it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from farebox.events import Envelope, RequestCompleted

_IDS_END_MS: Final = (datetime(9999, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
"""No clock is that far ahead, and no partition can be named for it."""


class Attempt(NamedTuple):
    """One attempt: the event, and its JSON as received, which the ledger keeps.

    `event.started_at` is what the attempt is priced and dated by; what the gateway said stays in `received`.
    """

    event: RequestCompleted
    received: str

    def dated(self, at: datetime) -> "Attempt":
        """The same attempt as of another instant."""
        return self._replace(event=self.event.model_copy(update={"started_at": at}))


class NotBookable(StrEnum):
    """Why an event of the contract cannot become a ledger entry, in order of precedence."""

    UNEXPECTED_TYPE = "unexpected_type"
    ID_MISMATCH = "id_mismatch"
    NOT_UUID7 = "not_uuid7"
    ABSURD_INSTANT = "absurd_instant"
    NUL_CHARACTER = "nul_character"


@dataclass(frozen=True, slots=True)
class Window:
    """The instants [earliest, latest] that an attempt may say it started at; `now` is by the books' clock."""

    earliest: datetime
    now: datetime
    latest: datetime

    @classmethod
    def at(cls, now: datetime, retention: timedelta, lead: timedelta) -> "Window":
        """From the start of retention to as far ahead as a gateway may price calls that hard budgets hold."""
        return cls(now - retention, now, now + lead)


def examine(envelope: Envelope, received: bytes, window: Window) -> Attempt | NotBookable:
    """The attempt an event tells of, or why the ledger can never take it.

    One that started outside the window comes from a machine whose clock is off. It is charged all the same, as of when
    the books hear of it.
    """
    event = envelope.event
    if not isinstance(event, RequestCompleted):
        return NotBookable.UNEXPECTED_TYPE
    if envelope.id != event.attempt_id:
        return NotBookable.ID_MISMATCH
    bits = envelope.id.int
    if (bits >> 76) & 0xF != 7 or (bits >> 62) & 0b11 != 0b10:  # RFC 9562: version 7, variant 10
        return NotBookable.NOT_UUID7
    if bits >> 80 >= _IDS_END_MS:
        return NotBookable.ABSURD_INSTANT
    if b"\\u0000" in received:  # PostgreSQL's text cannot hold it, and no name needs it
        return NotBookable.NUL_CHARACTER
    attempt = Attempt(event, received.decode())
    return attempt if window.earliest <= event.started_at <= window.latest else attempt.dated(window.now)
