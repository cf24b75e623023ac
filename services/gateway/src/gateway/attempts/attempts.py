"""An attempt in the books: its intent before it is sent, its settlement and its event when it has ended."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from farebox import faults
from farebox.clock import Clock
from farebox.ids import new_id
from farebox.pricing import UsageSource
from gateway import metrics
from gateway.admission.estimate import actual
from gateway.admission.verdict import Reservation
from gateway.attempts.event import GatewayEpoch, Outcome, OutcomeName, event_fields, event_json, settle
from gateway.attempts.publisher import Publisher
from gateway.journal.journal import Journal
from gateway.journal.record import Entry
from gateway.journal.replay import Place
from gateway.policy.prices import Prices
from gateway.shares.amount import NOTHING, Amount
from gateway.shares.shares import Shares

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt under way. `fields` is its event so far; `started` is on the monotonic clock."""

    id: UUID
    request_id: UUID
    reservation: Reservation
    fields: dict[str, Any]
    started: float
    intent: Place
    is_over: bool = False
    has_answer: bool = False
    """Whether the caller has the beginning of one."""


class Settled(NamedTuple):
    """What an attempt cost: nano-USD, and nano-units of the billing currency. None where it has no price."""

    cost_nano_usd: int | None
    billed_nano: int | None


class Attempts:
    """The one place where journal, shares and publisher learn of an attempt, in this order."""

    def __init__(
        self,
        *,
        shares: Shares,
        gateway: Callable[[], GatewayEpoch],
        journal: Journal,
        publisher: Publisher,
        prices: Prices,
        clock: Clock,
    ) -> None:
        self._shares = shares
        self._gateway = gateway
        self._journal = journal
        self._publisher = publisher
        self._prices = prices
        self._clock = clock

    def begin(self, reservation: Reservation) -> Attempt:
        """Write the intent. Raises JournalFull; then the reserve is released, and nothing may be sent."""
        id_, request_id = new_id(), new_id()
        fields = event_fields(id_, request_id, reservation, self._gateway())
        try:
            intent = self._intent(id_, fields, reservation)
        except BaseException:
            if reservation.hold is not None:
                self._shares.void(reservation.hold)
            raise
        faults.point("gateway.after_intent")
        return Attempt(id_, request_id, reservation, fields, self._clock.monotonic(), intent)

    def _intent(self, id_: UUID, fields: dict[str, Any], reservation: Reservation) -> Place:
        """What it comes to should nobody see its end: the guess, and the rest of its reserve uncertain."""
        worst, guess = reservation.estimate.amount, reservation.estimate.guess
        settle(fields, worst, worst.beyond(guess.amount))
        lost = Outcome(guess.usage, reservation.call.model, 0, "recovered")
        event = event_json(fields, lost, completed_at=reservation.at, latency_ms=0, usage_json=guess.usage_json)
        return self._journal.intent(_entry(id_, reservation, worst, reservation.at, event))

    def end(self, attempt: Attempt, outcome: Outcome) -> Settled:
        """Journal, settle, publish. A second time changes nothing."""
        if attempt.is_over:
            return Settled(None, None)
        attempt.is_over = True
        faults.point("gateway.before_completed")
        reservation = attempt.reservation
        charge, amount = self._price(reservation, outcome)
        settled, uncertain = _settled(reservation, outcome, amount)
        elapsed_s = self._clock.monotonic() - attempt.started
        completed_at = reservation.at + timedelta(seconds=elapsed_s)
        settle(attempt.fields, settled, uncertain)
        event = event_json(attempt.fields, outcome, completed_at=completed_at, latency_ms=int(elapsed_s * 1000))
        entry = _entry(attempt.id, reservation, settled, completed_at, event)
        # Before it is settled: a segment that begins with this record tells the shares without it in its checkpoint.
        place = self._journal.completed(entry, attempt.intent)
        faults.point("gateway.after_completed")
        if reservation.hold is not None and not self._shares.settle(reservation.hold, settled):
            metrics.RESERVE_EXCEEDED.labels(reservation.upstream.name).inc()
            log.error("reserve_exceeded", attempt=str(attempt.id), reserve=reservation.hold.amount, actual=amount)
        reservation.key_policy.settle(amount.money)
        self._publisher.add(entry, place, is_written=place != attempt.intent)
        _count(reservation.upstream.name, outcome, elapsed_s)
        return charge

    def _price(self, reservation: Reservation, outcome: Outcome) -> tuple[Settled, Amount]:
        """At the served model's rates, as metering will. What has no price keeps its whole reserve."""
        rates = reservation.rates
        call, key_policy = reservation.call, reservation.key_policy
        if outcome.served_model != call.model:
            provider = reservation.upstream.provider
            rates = self._prices.rates(provider, outcome.served_model, reservation.at, key_policy.who.org) or rates
        priced = actual(rates, key_policy.settings.fx_rate, outcome.usage)
        if priced is None:
            metrics.UNPRICED.inc()
            usage = outcome.usage
            return Settled(None, None), Amount(reservation.estimate.amount.money, usage.requests, usage.total)
        cost, amount = priced
        return Settled(cost, amount.money), amount


def _settled(reservation: Reservation, outcome: Outcome, charge: Amount) -> tuple[Amount, Amount]:
    """What the shares lose, and what of it is uncertain: where the provider did not say what was used, it may have been
    all of the reserve."""
    if outcome.usage.source is UsageSource.REPORTED:
        return charge, NOTHING
    uncertain = reservation.estimate.amount.beyond(charge)._replace(requests=0)
    return charge.plus(uncertain), uncertain


def _entry(id_: UUID, reservation: Reservation, settled: Amount, time: datetime, event: bytes) -> Entry:
    hold = reservation.hold
    return Entry(
        id=id_,
        windows=tuple((share.key, share.measure) for share in hold.shares) if hold else (),
        settled=settled,
        key=reservation.key_policy.who.subject,
        time=time,
        event=event,
    )


def _count(upstream: str, outcome: Outcome, elapsed_s: float) -> None:
    _attempts_metric(upstream, outcome.name).inc()
    _seconds_metric(upstream).observe(elapsed_s)
    _usage_metric(outcome.usage.source).inc()
    if outcome.ttft_ms is not None:
        metrics.FIRST_BYTE_SECONDS.labels(upstream).observe(outcome.ttft_ms / 1000)


# Looking up a metric's child costs more than counting.


@cache
def _attempts_metric(upstream: str, outcome: OutcomeName) -> Counter:
    return metrics.ATTEMPTS.labels(upstream, outcome)


@cache
def _seconds_metric(upstream: str) -> Histogram:
    return metrics.ATTEMPT_SECONDS.labels(upstream)


@cache
def _usage_metric(source: UsageSource) -> Counter:
    return metrics.USAGE_SOURCE.labels(source)
