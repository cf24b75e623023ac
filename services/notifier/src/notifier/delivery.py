"""A delivery: one alert on its way to one channel, and what an attempt at it means.

pending ──accepted──────────────> delivered
   │ └──retry, while the schedule has a next attempt──> pending
   ├──refused, gone, schedule exhausted──> failed
   └──channel deleted──> cancelled
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, assert_never
from uuid import UUID

from notifier.channel import Kind
from notifier.retry import Schedule


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Verdict(StrEnum):
    """What one attempt came to."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    REFUSED = "refused"
    """The receiver will never take it."""
    GONE = "gone"
    """The receiver wants nothing any more (410): its channel is disabled."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """An attempt's result. `status` is the receiver's HTTP or SMTP code; `error` never repeats what it said beside.

    `accepted` are the mail addresses that the relay took over in this attempt.
    """

    verdict: Verdict
    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed delivery with all that is needed to send it. `number` counts attempts from 1 and fences the claim.

    `event` is the event's JSON as its producer wrote it; `accepted` are recipients served by earlier attempts.
    """

    delivery_id: UUID
    event_id: UUID
    channel_id: UUID
    kind: Kind
    number: int
    type: str
    occurred_at: datetime
    event: str
    recipients: tuple[str, ...]
    accepted: tuple[str, ...]
    url: str | None
    sealed_secrets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from an attempt: the delivery's state, seconds until the next attempt, the channel's end."""

    state: State
    delay_s: float | None = None
    disables_channel: bool = False


class Sender(Protocol):
    """Makes one attempt. Expected failures are outcomes; bounded in time by its caller."""

    async def send(self, job: Job) -> DeliveryResult: ...


def step_after(outcome: DeliveryResult, *, attempts: int, schedule: Schedule, jitter: float) -> Step:
    """The step after attempt number `attempts` ended with this outcome."""
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return Step(State.DELIVERED)
        case Verdict.REFUSED:
            return Step(State.FAILED)
        case Verdict.GONE:
            return Step(State.FAILED, disables_channel=True)
        case Verdict.RETRY:
            delay_s = schedule.delay_s(attempts, retry_after_s=outcome.retry_after_s, jitter=jitter)
            return Step(State.FAILED) if delay_s is None else Step(State.PENDING, delay_s)
        case _:
            assert_never(outcome.verdict)


def outstanding(job: Job) -> Sequence[str]:
    """The recipients no relay has accepted yet."""
    return [address for address in job.recipients if address not in job.accepted]
