"""aiokafka's consumer, with two holes closed: an error while reading loses nothing, and no record blocks for ever."""

import asyncio
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

log = structlog.get_logger()

Polled: TypeAlias = dict[TopicPartition, list[Any]]


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

    async def getmany(self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None) -> Polled:
        self.polling = True
        before = self.positions()
        try:
            if self._careful:
                return await self._one_of_each()
            polled: Polled = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        except UnicodeDecodeError:
            self._careful = True
            await self._rewind(before)
            polled = {}
        except KafkaError as error:
            await self._rewind(before)
            if error.retriable:
                self._note_poll()
            raise
        finally:
            self.polling = False
        self._note_poll()
        return polled

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
