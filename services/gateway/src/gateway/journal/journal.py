"""The journal: every attempt is on local disk before it is sent, and until Kafka has its event.

Written with one `write` a record and without fsync: what the process wrote survives its SIGKILL. A machine lost with
its disk loses its journal, and its leases stay escrowed for that reason (DESIGN §4).
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from gateway import metrics
from gateway.errors import JournalFull, JournalLocked
from gateway.journal.record import (
    Entry,
    Kind,
    checkpoint_line,
    entry_line,
    entry_of,
    epoch_line,
    lease_line,
    published_line,
    read,
)
from gateway.journal.replay import Place, Replay
from gateway.shares.leases import Total

log = structlog.get_logger()

_SEGMENT: Final = re.compile(r"segment-([0-9]{12})\.journal")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the last process left behind. `is_whole` is False where some of it could not be read.

    `leases` with everything charged to them; `unpublished` are the attempts whose events Kafka may not have.
    """

    epoch: int
    leases: tuple[Total, ...]
    unpublished: tuple[tuple[UUID, Place], ...]
    charged_at_worst: int
    is_whole: bool


@dataclass(slots=True, eq=False)
class _Segment:
    number: int
    path: Path
    file: int
    size: int = 0
    unfinished: int = 0
    """Attempts whose newest record is in here and whose event is not known to be published."""


class Journal:
    """One folder, one writing process. `totals` tells the leases in hand, for the start of a segment."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        limit_bytes: int,
        totals: Callable[[], Iterable[Total]],
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._limit_bytes = limit_bytes
        self._totals = totals
        self._segments: dict[int, _Segment] = {}
        self._newest: _Segment | None = None
        self._size = 0
        self._epoch = 0
        self._problem: str | None = None
        self._refused_bytes = 0
        # A completion was refused: what it spent is in no record, but in the leases in hand. So a checkpoint must come
        # before the next record; until then nothing is deleted, for its intent is all that tells of it.
        self._is_behind = False
        self._before: Mapping[UUID, Total] | None = None
        # Giving the pages of a long file back takes the kernel tens of milliseconds.
        self._remover = ThreadPoolExecutor(1, "journal-remover")
        self._lock = _locked(folder)
        self.recovered = self._recover()

    def lease(self, total: Total) -> None:
        """A lease came into hand. Raises JournalFull."""
        self._append(lease_line(total))

    def epoch(self, epoch: int) -> None:
        """The leases of older epochs are reported and over. Raises JournalFull."""
        self._append(epoch_line(epoch))
        self._epoch = epoch
        self._before = None

    def intent(self, entry: Entry) -> Place:
        """An attempt is about to be sent. Raises JournalFull, and then it must not be."""
        place = self._append(entry_line(Kind.INTENT, entry))
        self._segments[place.segment].unfinished += 1
        return place

    def completed(self, entry: Entry, intent: Place) -> Place:
        """How it ended. Where the disk takes no more, the intent stands; a crash would then charge the worst case."""
        try:
            place = self._append(entry_line(Kind.COMPLETED, entry))
        except JournalFull:
            self._is_behind = True
            return intent
        self._segments[place.segment].unfinished += 1
        self._segments[intent.segment].unfinished -= 1
        return place

    def published(self, attempts: Iterable[tuple[UUID, Place]]) -> None:
        """Kafka has these. Segments that hold nothing unpublished are deleted, the oldest first."""
        listed = list(attempts)
        with contextlib.suppress(JournalFull):  # then they are published once more after a crash
            self._append(published_line(id_ for id_, _ in listed))
        for _, place in listed:
            if place.segment in self._segments:
                self._segments[place.segment].unfinished -= 1
        self._sweep()

    def entry(self, place: Place) -> Entry:
        """Read a record back. Raises OSError, record.Damaged."""
        _, payload = read(os.pread(self._segments[place.segment].file, place.length, place.offset))
        return entry_of(payload)

    def problems(self) -> list[str]:
        """Why records are not taken at the moment; tries again before it says so."""
        if self._problem:
            with contextlib.suppress(JournalFull):
                self._try()
        return [f"journal: {self._problem}"] if self._problem else []

    def close(self) -> None:
        """A second time changes nothing."""
        for segment in self._segments.values():
            os.close(segment.file)
        self._segments.clear()
        self._remover.shutdown()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _append(self, line: bytes) -> Place:
        try:
            segment = self._current()
            self._write(segment, line)
        except JournalFull:
            metrics.JOURNAL_REFUSED.inc()
            raise
        if self._problem and len(line) >= self._refused_bytes:
            self._mended()
        place = Place(segment.number, segment.size, len(line))
        segment.size += len(line)
        self._size += len(line)
        return place

    def _write(self, segment: _Segment, data: bytes) -> None:
        """All of it at the segment's end, or nothing. A segment's beginning may pass the limit: recovery needs one."""
        if segment.size and self._size + len(data) > self._limit_bytes:
            raise self._full(f"it has reached its limit of {self._limit_bytes} bytes", len(data))
        try:
            written = os.write(segment.file, data)
            if written != len(data):
                os.ftruncate(segment.file, segment.size)
                raise self._full("the disk took only part of a record", len(data))
        except OSError as error:
            raise self._full(f"{error.strerror}", len(data)) from error

    def _try(self) -> None:
        """Whether a record as long as the longest that was refused has room now: a shorter one may always find some."""
        segment = self._current()
        self._write(segment, bytes(self._refused_bytes))
        os.ftruncate(segment.file, segment.size)
        self._mended()

    def _current(self) -> _Segment:
        """The segment to write to; a new one where the last is long enough, or lacks what was spent."""
        newest = self._newest
        if newest is not None and newest.size < self._segment_bytes and not self._is_behind:
            return newest
        return self._begin(newest.number + 1 if newest else 1)

    def _begin(self, number: int) -> _Segment:
        path = self._folder / f"segment-{number:012d}.journal"
        totals = tuple(self._totals() if self._before is None else self._before.values())
        line = checkpoint_line(self._epoch, totals)
        try:
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._full(f"{error.strerror}", 0) from error
        segment = _Segment(number, path, file)
        try:
            self._write(segment, line)
        except JournalFull:
            _remove(segment)
            raise
        segment.size = len(line)
        self._segments[number] = self._newest = segment
        self._size += len(line)
        self._is_behind = False
        self._sweep()
        return segment

    def _full(self, why: str, length: int) -> JournalFull:
        if self._problem is None:
            log.error("journal_not_writable", folder=str(self._folder), why=why)
        self._problem = why
        self._refused_bytes = max(self._refused_bytes, length)
        return JournalFull(f"the journal takes no more: {why}")

    def _mended(self) -> None:
        log.info("journal_writable_again", folder=str(self._folder))
        self._problem = None
        self._refused_bytes = 0

    def _sweep(self) -> None:
        if self._is_behind:
            return
        for segment in tuple(self._segments.values()):
            if segment.unfinished or segment is self._newest:
                break
            self._size -= segment.size
            del self._segments[segment.number]
            self._remover.submit(_remove, segment)
        metrics.JOURNAL_BYTES.set(self._size)

    def _recover(self) -> Recovered:
        """Read everything, begin a new segment, and complete at worst case what has only an intent."""
        replay = Replay()
        for number, path in sorted(_found(self._folder)):
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._segments[number] = _Segment(number, path, file, size=path.stat().st_size)
            self._size += self._segments[number].size
            with path.open("rb") as lines:
                replay.segment(number, lines)
        self._epoch = replay.epoch
        self._before = replay.leases  # as they are: a segment that begins meanwhile tells what was charged before it
        for place in (*replay.intents.values(), *replay.completions.values()):
            self._segments[place.segment].unfinished += 1
        self._begin(max(self._segments, default=0) + 1)
        unpublished = [self._complete(replay, id_, place) for id_, place in replay.intents.items()]
        unpublished += [self._moved(id_, place, replay.damaged) for id_, place in replay.completions.items()]
        self._set_aside(replay.damaged)
        return Recovered(
            epoch=replay.epoch,
            leases=tuple(replay.leases.values()),
            unpublished=tuple(unpublished),
            charged_at_worst=len(replay.intents),
            is_whole=not replay.damaged,
        )

    def _complete(self, replay: Replay, id_: UUID, intent: Place) -> tuple[UUID, Place]:
        entry = self.entry(intent)
        place = self.completed(entry, intent)
        replay.spend(entry.lease_id, entry.amount)
        return id_, place

    def _moved(self, id_: UUID, place: Place, damaged: dict[int, str]) -> tuple[UUID, Place]:
        """Out of a damaged segment, which is about to leave the journal."""
        if place.segment not in damaged:
            return id_, place
        line = os.pread(self._segments[place.segment].file, place.length, place.offset)
        moved = self._append(line)
        self._segments[moved.segment].unfinished += 1
        return id_, moved

    def _set_aside(self, damaged: dict[int, str]) -> None:
        for number, why in damaged.items():
            segment = self._segments.pop(number)
            os.close(segment.file)
            self._size -= segment.size
            aside = segment.path.with_name(f"damaged-{segment.path.name}")
            segment.path.rename(aside)
            log.error("journal_segment_damaged", set_aside=str(aside), why=why)
            metrics.JOURNAL_DAMAGED.inc()


def _remove(segment: _Segment) -> None:
    os.close(segment.file)
    segment.path.unlink(missing_ok=True)


def _found(folder: Path) -> list[tuple[int, Path]]:
    return [(int(match[1]), path) for path in folder.iterdir() if (match := _SEGMENT.fullmatch(path.name))]


def _locked(folder: Path) -> int:
    """Raises JournalLocked, and OSError where the folder cannot be had."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise JournalLocked(f"{folder} is in use by another gateway") from error
    return lock
