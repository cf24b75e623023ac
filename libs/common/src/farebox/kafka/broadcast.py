"""A reader of compacted topics: every process reads all of them from the beginning and keeps the newest of each key."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import structlog
from aiokafka.errors import KafkaError

from farebox.kafka import metrics
from farebox.kafka.backoff import Backoff
from farebox.kafka.consumer import Unreadable, WatchedConsumer
from farebox.kafka.record import Record

log = structlog.get_logger()

Learn: TypeAlias = Callable[[Sequence[Record]], Awaitable[None]]
"""Takes records in the order of their partition. Sees the same record again after a reconnect. A record it cannot read
must not keep it from the others: what it raises for is logged, counted and skipped."""

BATCH_RECORDS_MAX: Final = 2_000
POLL_MS: Final = 200
REQUEST_TIMEOUT_MS: Final = 10_000
CONNECT_TIMEOUT_S: Final = 15.0
STALLED_AFTER_S: Final = 60.0
RECONNECT: Final = Backoff(base_s=0.2, cap_s=5.0)


class Broadcast:
    """Reads all partitions of `topics`, without a group, without commits, while Kafka comes and goes.

    `caught_up` is set when everything that was there at the first connection has been handed over.
    """

    def __init__(self, bootstrap: str, *topics: str, client_id: str, handle: Learn) -> None:
        self.topics = topics
        self.caught_up = asyncio.Event()
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._handle = handle
        self._reader: asyncio.Task[None] | None = None
        self._connected = False
        self._progress_at = 0.0

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Read in the background, for as long as it takes to connect. Needs a running loop."""
        if self._reader is None:
            self._progress_at = asyncio.get_running_loop().time()
            self._reader = asyncio.create_task(self._keep_reading(), name=f"broadcast {self.topics}")

    async def stop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader])

    def problems(self) -> list[str]:
        name = f"broadcast {', '.join(self.topics)}"
        if self._reader is None or self._reader.done():
            return [f"{name}: its task has ended"]
        idle_s = asyncio.get_running_loop().time() - self._progress_at
        return [f"{name}: no poll for {idle_s:.0f} s"] if idle_s > STALLED_AFTER_S else []

    def unready(self) -> list[str]:
        """Not caught up yet. Kafka going away later leaves what was learnt, so it is no reason to be unready."""
        return [] if self.caught_up.is_set() else [f"broadcast {', '.join(self.topics)}: not caught up"]

    async def _keep_reading(self) -> None:
        attempt = 0
        while True:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001 - whatever it is, this reader must go on trying
                attempt = 1 if self._connected else attempt + 1
                self._connected = False
                self._progress_at = asyncio.get_running_loop().time()
                log.warning("broadcast_disconnected", topics=self.topics, attempt=attempt, error=repr(error))
            await asyncio.sleep(RECONNECT.jittered_s(attempt))

    async def _read(self) -> None:
        """From the beginning, until Kafka or the handler breaks it off."""
        consumer = WatchedConsumer(
            *self.topics,
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=60_000,
            retry_backoff_ms=100,
            fetch_max_wait_ms=500,
            check_crcs=True,
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await consumer.start()
                ends = await consumer.end_offsets(list(consumer.assignment()))
            self._connected = True
            while True:
                await self._poll(consumer)
                if not self.caught_up.is_set() and _passed(consumer.positions(), ends):
                    self.caught_up.set()
                    log.info("broadcast_caught_up", topics=self.topics)
        finally:
            with contextlib.suppress(KafkaError, OSError):
                await consumer.stop()

    async def _poll(self, consumer: Any) -> None:
        polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS_MAX)
        self._progress_at = asyncio.get_running_loop().time()
        for raw in polled.values():
            readable = [Record.of(record) for record in raw if not isinstance(record, Unreadable)]
            for _ in range(len(raw) - len(readable)):
                metrics.SKIPPED.labels(raw[0].topic).inc()
            if readable:
                await self._hand_over(readable)

    async def _hand_over(self, records: Sequence[Record]) -> None:
        """All at once; if that fails, by halves down to the record that cannot be taken."""
        try:
            await self._handle(records)
        except Exception as error:  # noqa: BLE001 - one record must not hide all that come after it
            if len(records) == 1:
                metrics.SKIPPED.labels(records[0].topic).inc()
                log.error(
                    "broadcast_record_skipped", topic=records[0].topic, offset=records[0].offset, error=repr(error)
                )
                return
            half = len(records) // 2
            await self._hand_over(records[:half])
            await self._hand_over(records[half:])


def _passed(positions: Mapping[Any, int], ends: Mapping[Any, int]) -> bool:
    return all(positions.get(place, -1) >= end for place, end in ends.items())
