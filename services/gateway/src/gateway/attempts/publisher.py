"""From the journal to Kafka: in batches, for as long as it takes, never in the way of an answer."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from farebox import faults
from farebox.kafka import Message, MessageTooLarge, Producer, Undelivered
from farebox.kafka.backoff import Backoff
from gateway import metrics
from gateway.attempts.event import message
from gateway.journal.journal import Journal
from gateway.journal.record import Damaged, Entry
from gateway.journal.replay import Place

log = structlog.get_logger()

GATHER_S: Final = 0.02
"""How long the first event of a batch waits for others."""
BATCH_MAX: Final = 200
"""Laying a batch out for Kafka holds up the loop: 200 events for 2–4 ms."""
IN_MEMORY_MAX: Final = 20_000
"""Events kept in memory; those beyond are read back from the journal when their turn comes."""
SEND_TIMEOUT_S: Final = 30.0
RETRY: Final = Backoff(base_s=0.1, cap_s=5.0)


class _Waiting(NamedTuple):
    id: UUID
    place: Place
    entry: Entry | None


class Publisher:
    """`run` publishes until it is cancelled. Order is of no consequence to readers, and not kept."""

    def __init__(self, producer: Producer, journal: Journal) -> None:
        self._producer = producer
        self._journal = journal
        self._queue: deque[_Waiting] = deque()
        self._added = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        for id_, place in journal.recovered.unpublished:
            self._queue.append(_Waiting(id_, place, None))
            self._added.set()
            self._idle.clear()

    def add(self, entry: Entry, place: Place, *, is_written: bool) -> None:
        """An attempt has ended; `place` is where the journal has it, or its intent where it could not be written."""
        keep = not is_written or len(self._queue) < IN_MEMORY_MAX
        self._queue.append(_Waiting(entry.id, place, entry if keep else None))
        if not self._added.is_set():
            self._added.set()
            self._idle.clear()

    async def run(self) -> None:
        while True:
            await self._added.wait()
            if len(self._queue) < BATCH_MAX:
                await asyncio.sleep(GATHER_S)
            batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
            await self._publish(batch)
            metrics.UNPUBLISHED.set(len(self._queue))
            if not self._queue:
                self._added.clear()
                self._idle.set()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everything is published; False if that takes longer (the journal keeps the rest)."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        return self._idle.is_set()

    def __len__(self) -> int:
        return len(self._queue)

    async def _publish(self, batch: Sequence[_Waiting]) -> None:
        messages = [message(entry) for entry in self._entries(batch)]
        attempt = 0
        while True:
            try:
                await self._producer.send(messages, SEND_TIMEOUT_S)
            except Undelivered as error:
                attempt += 1
                log.warning("events_not_published", waiting=len(self._queue) + len(batch), error=str(error))
                metrics.UNPUBLISHED.set(len(self._queue) + len(batch))
                await asyncio.sleep(RETRY.jittered_s(attempt))
            except MessageTooLarge as error:
                messages = _to_dead_letters(messages, error.messages)
            else:
                faults.point("gateway.after_publish")
                self._journal.published((waiting.id, waiting.place) for waiting in batch)
                return

    def _entries(self, batch: Iterable[_Waiting]) -> Iterable[Entry]:
        for waiting in batch:
            if waiting.entry is not None:
                yield waiting.entry
            else:
                try:
                    yield self._journal.entry(waiting.place)
                except (OSError, Damaged, KeyError) as error:
                    log.error("event_lost_from_journal", attempt=str(waiting.id), error=repr(error))
                    metrics.JOURNAL_DAMAGED.inc()


def _to_dead_letters(messages: Iterable[Message], large: Sequence[Message]) -> list[Message]:
    """The same messages, the large ones addressed to the dead-letter topic."""
    metrics.DEAD.inc(len(large))
    log.error("events_too_large", count=len(large))
    reason = ("farebox-dead-reason", b"message_too_large")
    return [
        Message(f"{each.topic}.dead", each.key, each.value, (*each.headers, reason)) if each in large else each
        for each in messages
    ]
