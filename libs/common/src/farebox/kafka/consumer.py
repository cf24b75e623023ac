"""aiokafka's consumer, with three holes closed: no error loses a record, no record blocks, no closed socket ends it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaError
from aiokafka.structs import ConsumerRecord

from farebox.errors import Transient

log = structlog.get_logger()

Polled: TypeAlias = dict[TopicPartition, list[Any]]
Begin: TypeAlias = Callable[[Collection[tuple[str, int]]], Awaitable[Mapping[tuple[str, int], int]]]
"""Where to go on in these partitions at the latest; those without a word of it go on where Kafka has them."""

BEGIN_RETRY_S: Final = 0.2


@dataclass
class Unreadable(ConsumerRecord):  # type: ignore[misc]  # aiokafka has no types
    """Stands in the place of a record that the client cannot decode, as one with a header name that is not UTF-8."""

    detail: str = ""


class WatchedConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """Knows when its loop last got an answer, whether its own tasks still run, and where it stood before an error.

    aiokafka moves a partition's position when it takes its records, and drops them if another partition then fails:
    the next commit would skip them. It cannot step over a record that it cannot decode. Its idle time is no sign of
    life: after one exception inside `getmany` it says zero for ever.
    """

    polled_at = 0.0
    """Loop time of the last answer, be it empty; errors that pass by themselves count as one."""
    polling = False
    _careful = False
    _begin: Begin | None = None
    _unanswered = ""

    def __init__(self, *topics: str, **options: Any) -> None:
        super().__init__(*topics, **options)
        self._send = self._client.send
        self._client.send = self._send_over_open_socket

    async def _send_over_open_socket(self, node_id: int, request: Any, **group: Any) -> Any:
        """uvloop raises RuntimeError where a socket has just closed: by that aiokafka's tasks would end for good."""
        try:
            return await self._send(node_id, request, **group)
        except KafkaError:  # is a RuntimeError too
            raise
        except RuntimeError as error:
            raise KafkaConnectionError(str(error)) from error

    def go_back(self, begin: Begin) -> None:
        """Give no record of the present assignment before it has been asked where to go on."""
        self._begin = begin

    async def getmany(self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None) -> Polled:
        self.polling = True
        try:
            if self._begin is not None and not await self._gone_back(self._begin):
                await asyncio.sleep(BEGIN_RETRY_S)
                return {}
            return await self._poll(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        finally:
            self.polling = False

    async def _poll(self, *partitions: Any, timeout_ms: int, max_records: int | None) -> Polled:
        before = self.positions()
        try:
            if self._careful:
                return await self._one_of_each()
            polled: Polled = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
            if self._begin is not None:  # assigned while it waited
                await self._rewind(before)
                polled = {}
        except UnicodeDecodeError:
            self._careful = True
            await self._rewind(before)
            polled = {}
        except KafkaError as error:
            await self._rewind(before)
            if error.retriable:
                self._note_poll()
            raise
        self._note_poll()
        return polled

    async def _gone_back(self, begin: Begin) -> bool:
        """Whether every partition stands where it is to go on."""
        self._begin = None  # an assignment that comes meanwhile sets it again
        try:
            places = {(place.topic, place.partition): place for place in self.assignment()}
            for key, offset in (await begin(places)).items():
                if offset < (position := await self.position(places[key])):
                    log.warning("consumer_goes_back", topic=key[0], partition=key[1], position=position, offset=offset)
                    self.seek(places[key], offset)
        except (Transient, IllegalStateError) as error:
            if self._unanswered != (why := repr(error)):
                log.warning("consumer_cannot_begin", error=why)
            self._begin, self._unanswered = begin, why
            return False
        finally:
            self._note_poll()
        self._unanswered = ""
        return True

    def dead_tasks(self) -> list[str]:
        """aiokafka's own tasks that have ended though the consumer was not closed."""
        if self._closed:
            return []
        tasks = {
            "coordination": getattr(self._coordinator, "_coordination_task", None),
            "fetcher": getattr(self._fetcher, "_fetch_task", None),
        }
        return [name for name, task in tasks.items() if task is not None and task.done()]

    async def _one_of_each(self) -> Polled:
        """One record of every partition; the first that cannot be decoded is stepped over, a stand-in in its place."""
        polled: Polled = {}
        for place in self.assignment():
            try:
                polled |= await super().getmany(place, timeout_ms=0, max_records=1)
            except UnicodeDecodeError as error:
                polled[place] = [self._step_over(place, error)]
                self._careful = False
                break
        self._note_poll()
        if not polled:
            await asyncio.sleep(0.01)
        return polled

    def _step_over(self, place: TopicPartition, error: UnicodeDecodeError) -> Unreadable:
        offset = self.positions()[place]
        log.error("record_unreadable", topic=place.topic, partition=place.partition, offset=offset, error=str(error))
        self.seek(place, offset + 1)
        return Unreadable(place.topic, place.partition, offset, 0, 0, None, None, None, -1, -1, (), detail=str(error))

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of each assigned partition; one that still asks where to begin is left out."""
        assignment = self._subscription.subscription and self._subscription.subscription.assignment
        if not assignment:
            return {}
        states = {place: assignment.state_value(place) for place in assignment.tps}
        return {place: state.position for place, state in states.items() if state.has_valid_position}

    async def _rewind(self, before: dict[TopicPartition, int]) -> None:
        """Back to where every partition stood; one that had no position yet, to where its group would begin."""
        for place, position in self.positions().items():
            offset = before[place] if place in before else self._group_id and await self.committed(place)
            if offset is None:
                await self.seek_to_beginning(place)
            elif offset != position:
                self.seek(place, offset)

    def _note_poll(self) -> None:
        self.polled_at = asyncio.get_running_loop().time()
