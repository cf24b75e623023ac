"""A subscriber: batches to a handler, at least once, with dead letters, backoff, and a drain before partitions go.

Every trap of FastStream's Kafka subscribers has its guard here; ADR 4 says why.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog
from aiokafka import ConsumerRebalanceListener
from faststream.exceptions import NackMessage
from faststream.kafka.message import KafkaAckableMessage
from faststream.middlewares import AckPolicy

from farebox.errors import FareboxError
from farebox.kafka import metrics
from farebox.kafka.backoff import Backoff
from farebox.kafka.broker import Broker
from farebox.kafka.consumer import Unreadable
from farebox.kafka.dead import DATA_ERROR, HANDLER_ERROR, UNREADABLE, dead_letter
from farebox.kafka.faults import StrayCancel, is_stray_cancel, is_transient
from farebox.kafka.offsets import Behind, Offsets, after_all
from farebox.kafka.producer import MessageTooLarge, Producer
from farebox.kafka.record import Record, Rejected
from farebox.postgres import is_about_data

log = structlog.get_logger()

Handler: TypeAlias = Callable[[Sequence[Record]], Awaitable[Sequence[Rejected]]]
"""Takes a batch, makes its effect durable, and returns the records that it can never take.

Called again with the same records after any error, after a crash and after a rebalance: its effect must be idempotent.
"""

DRAIN_TIMEOUT_S: Final = 32.0
"""How long a rebalance waits for the batch in hand: above handler and dead letters, below REBALANCE_TIMEOUT_MS."""
REBALANCE_TIMEOUT_MS: Final = 35_000
"""Below broker.REQUEST_TIMEOUT_MS: joining is one request, answered when the slowest member has drained."""
MAX_POLL_INTERVAL_MS: Final = 300_000
SESSION_TIMEOUT_MS: Final = 10_000
HEARTBEAT_MS: Final = 1_000
FETCH_WAIT_MS: Final = 500
FETCH_BYTES_MAX: Final = 32 * 1024 * 1024
PARTITION_FETCH_BYTES_MAX: Final = 2 * 1024 * 1024
HANDLER_ATTEMPTS: Final = 3
"""Tries of a batch at which the handler fails for good, before its records are taken one half at a time."""
DEAD_LETTER_TIMEOUT_S: Final = 10.0
STALLED_AFTER_S: Final = 120.0
"""A loop that neither polled nor called its handler for so long hangs. Above handler, backoff and dead letters."""


RETRY: Final = Backoff(base_s=0.1, cap_s=30.0)
_FAILURES: Final = (DATA_ERROR, HANDLER_ERROR)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How batches are cut and tried again. `poll_ms` is the longest wait for a batch; an empty poll doubles it.

    A record that fails and has no other beside it is tried `alone_tries` times, for some hour with RETRY: nothing shows
    that it is to blame.
    """

    batch_records_max: int = 2_000
    poll_ms: int = 50
    handler_timeout_s: float = 20.0
    retry: Backoff = RETRY
    alone_tries: int = 160


DEFAULT_DELIVERY: Final = Delivery()


class NothingPasses(FareboxError):
    """Records fail and none passes: code and database do not fit, say, half-way through a deployment."""

    code = "nothing_passes"


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One group's membership, as this process sees it."""

    def __init__(
        self,
        *,
        group_id: str,
        handle: Handler,
        producer: Producer,
        delivery: Delivery,
        offsets: Offsets | None,
    ) -> None:
        self.group_id = group_id
        self.subscriber: Any = None  # FastStream's, set by `subscribe`: it needs this listener first
        self._handle = handle
        self._producer = producer
        self._delivery = delivery
        self._offsets = offsets
        self._faults = 0
        self._handler_errors = 0
        self._fault = ""
        self._leaving = asyncio.Event()
        self._assigned = False
        self._called_at = 0.0
        self._handled: dict[tuple[str, int], int] = {}

    # What FastStream and aiokafka call

    async def consume(self, raw: Sequence[Any]) -> None:
        """One batch, from all assigned partitions. Returning commits it; NackMessage brings it again."""
        for record in reversed(raw):
            self._handled[record.topic, record.partition] = record.offset
        unreadable = [Rejected(Record.of(r), UNREADABLE, r.detail) for r in raw if isinstance(r, Unreadable)]
        try:
            rejected = await self._hand_over([Record.of(r) for r in raw if not isinstance(r, Unreadable)])
            await self._bury([*unreadable, *rejected])
        except Exception as error:
            await self._back_off(error)
            raise NackMessage from error
        self._note_success()
        self._count_handled(raw)

    async def on_partitions_revoked(self, _revoked: Any) -> None:
        """Let the batch in hand end, and be committed, before the partitions go to another member."""
        self._assigned = False
        self._leaving.set()
        if self.subscriber is not None:
            await self.subscriber.lock.wait_release(DRAIN_TIMEOUT_S)

    async def on_partitions_assigned(self, _assigned: Any) -> None:
        self._leaving.clear()
        self._assigned = True
        self._handled.clear()
        self._go_back()

    def leave(self) -> None:
        """End a backoff under way: the batch goes to whoever gets the partition."""
        self._leaving.set()

    def _go_back(self) -> None:
        """Let the consumer ask where the database's effects end before it goes on."""
        if self._offsets is not None:
            self.subscriber.consumer.go_back(self._offsets.begin)

    # How it is

    def problems(self) -> list[str]:
        name = f"consumer {self.group_id}"
        consumer = self.subscriber.consumer
        if not self.subscriber.running or consumer is None:
            return []  # joining, or stopped on purpose
        if all(task.done() for task in self.subscriber.tasks):
            return [f"{name}: its task has ended"]
        if dead := consumer.dead_tasks():
            return [f"{name}: aiokafka's {task} task has ended" for task in dead]
        idle_s = asyncio.get_running_loop().time() - max(consumer.polled_at, self._called_at)
        if consumer.polled_at and not consumer.polling and idle_s > STALLED_AFTER_S:
            return [f"{name}: no poll for {idle_s:.0f} s"]
        return []

    def unready(self) -> list[str]:
        if not self._assigned:
            return [f"consumer {self.group_id}: no partitions assigned yet"]
        if self._handler_errors >= HANDLER_ATTEMPTS:
            return [f"consumer {self.group_id}: its batch has failed {self._faults} times: {self._fault}"]
        return []

    def lag(self) -> dict[tuple[str, int], int]:
        """Records behind the end of each partition that this process holds and has read from."""
        consumer = self.subscriber.consumer
        if consumer is None:
            return {}
        ends = {(tp.topic, tp.partition): consumer.highwater(tp) for tp in consumer.assignment()}
        return {
            place: max(0, end - self._handled[place])
            for place, end in ends.items()
            if place in self._handled and end is not None
        }

    # One batch

    async def _hand_over(self, records: Sequence[Record]) -> Sequence[Rejected]:
        if not records:
            return []
        if self._handler_errors < HANDLER_ATTEMPTS:
            return await self._call(records)
        rejected = await self._isolate(records)
        failed = [reject for reject in rejected if reject.reason in _FAILURES]
        if len(rejected) < len(records):
            refused = [reject for reject in rejected if reject.reason not in _FAILURES]
            return [*refused, *await self._fail_again(failed)]
        if len(failed) > 1 or (failed and self._handler_errors < self._delivery.alone_tries):
            raise NothingPasses(f"{len(failed)} of {len(records)} records, the first with {failed[0].detail}")
        return rejected

    async def _fail_again(self, failed: Sequence[Rejected]) -> list[Rejected]:
        """Those that fail although others have passed since: they are to blame, and no longer what they met before."""
        return [reject for each in failed for reject in await self._isolate([each.record])]

    async def _call(self, records: Sequence[Record]) -> Sequence[Rejected]:
        self._called_at = asyncio.get_running_loop().time()
        metrics.BATCH_RECORDS.labels(self.group_id).observe(len(records))
        try:
            with metrics.HANDLER_SECONDS.labels(self.group_id).time():
                async with asyncio.timeout(self._delivery.handler_timeout_s):
                    return await self._handle(records)
        except asyncio.CancelledError:
            if is_stray_cancel():
                raise StrayCancel("the handler was cancelled by something inside it") from None
            raise

    async def _isolate(self, records: Sequence[Record]) -> list[Rejected]:
        """Find the records at which the handler fails for good by halving; the others are handled."""
        try:
            return list(await self._call(records))
        except Exception as error:
            if is_transient(error):
                raise
            if len(records) == 1:
                return [Rejected(records[0], DATA_ERROR if is_about_data(error) else HANDLER_ERROR, repr(error))]
        half = len(records) // 2
        return [*await self._isolate(records[:half]), *await self._isolate(records[half:])]

    async def _bury(self, rejected: Sequence[Rejected]) -> None:
        if not rejected:
            return
        try:
            await self._producer.send([dead_letter(r) for r in rejected], DEAD_LETTER_TIMEOUT_S)
        except MessageTooLarge:
            await self._producer.send([dead_letter(r, keep_value=False) for r in rejected], DEAD_LETTER_TIMEOUT_S)
        for reject in rejected:
            metrics.REJECTED.labels(reject.record.topic, reject.reason).inc()
            log.warning(
                "record_rejected",
                topic=reject.record.topic,
                partition=reject.record.partition,
                offset=reject.record.offset,
                reason=reject.reason,
                detail=reject.detail,
            )

    async def _back_off(self, error: Exception) -> None:
        """Wait before the batch comes again; a rebalance or a stop ends the wait."""
        if isinstance(error, Behind):
            self._go_back()
        transient = is_transient(error)
        self._faults += 1
        self._handler_errors += not transient
        metrics.RETRIES.labels(self.group_id, "transient" if transient else HANDLER_ERROR).inc()
        metrics.FAULTS.labels(self.group_id).set(self._faults)
        self._log_change(error, transient=transient)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), self._delivery.retry.jittered_s(self._faults))

    def _log_change(self, error: Exception, *, transient: bool) -> None:
        """One line for each kind of fault in a row: an hour of the same would hide what else is going on."""
        fault, self._fault = self._fault, f"{type(error).__name__}: {error}"
        if self._fault != fault:
            log.warning(
                "batch_failed",
                group=self.group_id,
                transient=transient,
                faults=self._faults,
                error=repr(error),
                exc_info=None if transient else error,
            )

    def _note_success(self) -> None:
        if self._faults:
            log.info("batch_recovered", group=self.group_id, faults=self._faults)
            metrics.FAULTS.labels(self.group_id).set(0)
        self._faults = self._handler_errors = 0
        self._fault = ""

    def _count_handled(self, records: Sequence[Any]) -> None:
        after = after_all(records)
        self._handled |= after
        if self._offsets is not None:
            self._offsets.settle(after)
        for topic, count in Counter(record.topic for record in records).items():
            metrics.CONSUMED.labels(self.group_id, topic).inc(count)


def subscribe(
    broker: Broker,
    *topics: str,
    group_id: str,
    handle: Handler,
    producer: Producer,
    delivery: Delivery = DEFAULT_DELIVERY,
    instance_id: str | None = None,
    offsets: Offsets | None = None,
) -> Subscription:
    """Let `handle` take the records of these topics for the group, in batches.

    Rejected records go to `<topic>.dead` through `producer`, and so do those at which the handler keeps failing while
    others pass. Transient faults (`farebox.errors.Transient`, whatever the database says that is not about the data, a
    handler over its time) and batches of which nothing passes are retried for ever; ADR 17 says why.
    With `offsets`, noted by the handler in the transaction of its effect, the group goes back to where effects end.
    With `instance_id` (stable, unique in the group) a restarted process gets its partitions back without a rebalance.
    """
    subscription = Subscription(group_id=group_id, handle=handle, producer=producer, delivery=delivery, offsets=offsets)
    subscriber = broker.subscriber(
        *topics,
        batch=True,
        group_id=group_id,
        group_instance_id=instance_id,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        auto_offset_reset="earliest",
        no_reply=True,
        max_records=delivery.batch_records_max,
        batch_timeout_ms=delivery.poll_ms,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_min_bytes=1,
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        isolation_level="read_committed",
        check_crcs=True,
        listener=subscription,
    )
    subscription.subscriber = subscriber

    async def parse(records: tuple[Any, ...]) -> KafkaAckableMessage:
        # FastStream's own parser fails on a header that is null or not UTF-8, and the batch is skipped unseen.
        # Headers are the handler's business here, so FastStream gets none.
        first, last = records[0], records[-1]
        return KafkaAckableMessage(
            body=b"",
            headers={},
            raw_message=records,
            message_id=f"{first.topic}-{first.partition}-{first.offset}-{last.offset}",
            consumer=subscriber.consumer,
        )

    async def decode(message: KafkaAckableMessage) -> Any:
        return message.raw_message

    subscriber(subscription.consume, parser=parse, decoder=decode)
    broker.subscriptions.append(subscription)
    metrics.watch_lag(subscription)
    return subscription
