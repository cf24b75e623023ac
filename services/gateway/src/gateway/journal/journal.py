"""The journal: every attempt is on local disk before it is sent, and until Kafka has its event.

Written with one `write` a record and without fsync: what the process wrote survives its SIGKILL. What a machine wrote
in its last seconds may not survive its own end. So records are numbered, checkpoints name the boot of the machine,
and beats tell the budget service the newest number: a journal that ends early is not the whole story, and the shares
that it should tell of stay held.

An intent is taken only with room for its completion, which the disk has then given already: on a full disk no attempt
is begun whose end could not be written down.
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
    Record,
    Story,
    checkpoint_line,
    closed_line,
    entry_line,
    entry_of,
    epoch_line,
    published_line,
    read,
)
from gateway.journal.replay import Place, Replay
from gateway.journal.segment import Segment
from gateway.shares.shares import Spent, WindowKey

log = structlog.get_logger()

COMPLETION_MORE_BYTES: Final = 32 << 10
"""A completion is longer than its intent by no more: what a provider says in it is bounded."""

_SEGMENT: Final = re.compile(r"segment-([0-9]{12})\.journal")


def boot_of(file: Path) -> str:
    """This boot of the machine; empty where it does not say, and then no crash leaves a whole story."""
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the last process left behind. `is_whole` says that nothing of its epoch can be missing.

    `spent` of every window, with the reserves of calls whose end nobody saw; `unpublished` are the attempts whose
    events Kafka may not have.
    """

    epoch: int
    last_record: int
    spent: tuple[Spent, ...]
    unpublished: tuple[tuple[UUID, Place], ...]
    without_end: int
    is_whole: bool


class Journal:
    """One folder, one writing process. `spent` tells what the epoch spent, for the start of a segment."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        limit_bytes: int,
        spent: Callable[[], Iterable[Spent]],
        boot: str,
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._limit_bytes = limit_bytes
        self._spent = spent
        self._boot = boot
        self._story = Story(boot)
        self._segments: dict[int, Segment] = {}
        self._newest: Segment | None = None
        self._size = 0
        self._promised = 0
        """What the completions of attempts under way may take: the newest segment has room for all of them."""
        self._epoch = 0
        self.last_record = 0
        """The number of the newest record."""
        self._problem: str | None = None
        self._refused_bytes = 0
        # A completion was refused: what it spent is in no record, but in the shares in hand. So a checkpoint must come
        # before the next record; until then nothing is deleted, for its intent is all that tells of it.
        self._is_behind = False
        self._before: Mapping[WindowKey, Spent] | None = None
        # Giving the pages of a long file back takes the kernel tens of milliseconds.
        self._remover = ThreadPoolExecutor(1, "journal-remover")
        self._lock = _locked(folder)
        self.recovered = self._recover()

    def epoch(self, epoch: int) -> None:
        """Older epochs are accounted for. Raises JournalFull."""
        self._append(lambda number: epoch_line(number, epoch, self._boot))
        self._epoch = epoch
        self._story = Story(self._boot)
        self._before = None

    def intent(self, entry: Entry) -> Place:
        """An attempt is about to be sent. Raises JournalFull, and then it must not be."""
        place = self._append(lambda number: entry_line(Kind.INTENT, number, entry), is_intent=True)
        self._segments[place.segment].unfinished += 1
        self._promised += _promised_to(place)
        return place

    def completed(self, entry: Entry, intent: Place) -> Place:
        """How it ended. Where the disk fails, the intent stands; a crash would then settle the reserve."""
        promised = _promised_to(intent)
        self._promised -= promised
        try:
            place = self._append(lambda number: entry_line(Kind.COMPLETED, number, entry), promised=promised)
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
            self._append(lambda number: published_line(number, (id_ for id_, _ in listed)))
        for _, place in listed:
            if place.segment in self._segments:
                self._segments[place.segment].unfinished -= 1
        self._sweep()

    def entry(self, place: Place) -> Entry:
        """Read a record back. Raises OSError, record.Damaged."""
        return entry_of(self._record(place).payload)

    def problems(self) -> list[str]:
        """Why records are not taken at the moment; tries again before it says so."""
        if self._problem:
            with contextlib.suppress(JournalFull):
                self._try()
        return [f"journal: {self._problem}"] if self._problem else []

    def close(self) -> None:
        """In order: what was written is on the disk, and says so. A second time changes nothing."""
        if self._segments:
            with contextlib.suppress(JournalFull, OSError):
                self._append(closed_line)
                for segment in self._segments.values():
                    segment.trim()
                    os.fsync(segment.file)
        for segment in self._segments.values():
            os.close(segment.file)
        self._segments.clear()
        self._remover.shutdown()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _record(self, place: Place) -> Record:
        return read(os.pread(self._segments[place.segment].file, place.length, place.offset))

    def _append(self, line_of: Callable[[int], bytes], *, is_intent: bool = False, promised: int = 0) -> Place:
        """A record at the end; `promised` is the room that was kept for it. Raises JournalFull."""
        try:
            segment = self._current(may_begin=not promised)
            line = line_of(self.last_record + 1)
            needed = len(line) + (_room_for_end(len(line)) if is_intent else 0)
            self._make_room(segment, needed, promised)
            self._write(segment, line, needed)
        except JournalFull:
            metrics.JOURNAL_REFUSED.inc()
            raise
        if self._problem and not promised and needed >= self._refused_bytes:
            self._mended()
        return Place(segment.number, segment.size - len(line), len(line))

    def _make_room(self, segment: Segment, length: int, promised: int = 0) -> None:
        """Beside what is promised to others. A segment's beginning may pass the limit: recovery needs one."""
        needed = self._promised + length
        if segment.size and length > promised and self._size + needed > self._limit_bytes:
            raise self._full(f"it has reached its limit of {self._limit_bytes} bytes", length)
        try:
            segment.make_room(needed)
        except OSError as error:
            raise self._full(f"{error.strerror}", length) from error

    def _write(self, segment: Segment, line: bytes, needed: int) -> None:
        try:
            segment.write(line)
        except OSError as error:
            raise self._full(f"{error.strerror}", needed) from error
        self._size += len(line)
        self.last_record += 1

    def _try(self) -> None:
        """Whether a record as long as the longest that was refused has room now: a shorter one may always find some."""
        segment = self._current()
        self._make_room(segment, self._refused_bytes)
        try:
            segment.try_to_write(self._refused_bytes)
        except OSError as error:
            raise self._full(f"{error.strerror}", 0) from error
        self._mended()

    def _current(self, *, may_begin: bool = True) -> Segment:
        """The segment to write to; a new one where the last is long enough, or lacks what was spent."""
        newest = self._newest
        if newest is None or self._is_behind or (may_begin and newest.size >= self._segment_bytes):
            return self._begin(newest.number + 1 if newest else 1)
        return newest

    def _begin(self, number: int) -> Segment:
        path = self._folder / f"segment-{number:012d}.journal"
        spent = tuple(self._spent() if self._before is None else self._before.values())
        line = checkpoint_line(self.last_record + 1, self._epoch, self._story, spent)
        try:
            segment = Segment.create(number, path)
        except OSError as error:
            raise self._full(f"{error.strerror}", 0) from error
        try:
            self._make_room(segment, len(line))
            self._write(segment, line, len(line))
        except JournalFull:
            segment.remove()
            raise
        self._segments[number], before, self._newest = segment, self._newest, segment
        if before is not None:
            before.trim()
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
            self._remover.submit(segment.remove)
        metrics.JOURNAL_BYTES.set(self._size)

    def _recover(self) -> Recovered:
        """Read everything, begin a new segment, and complete what has only an intent as its intent says."""
        replay = Replay()
        for number, path in sorted(_found(self._folder)):
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            with path.open("rb") as lines:
                segment = self._segments[number] = Segment(number, path, file, size=replay.segment(number, lines))
            segment.trim()
            self._size += segment.size
        self._epoch, self.last_record = replay.epoch, replay.last_record
        self._before = replay.spent  # as they are: a segment that begins meanwhile tells what was charged before it
        for place in (*replay.intents.values(), *replay.completions.values()):
            self._segments[place.segment].unfinished += 1
        self._promised = sum(map(_promised_to, replay.intents.values()))
        for damaged in replay.damaged:
            self._segments[damaged].unfinished += 1  # not to be deleted: it is set aside below
        is_whole = self._is_whole(replay)
        # Kept until there is a new epoch: what this process writes before makes the story no longer, and not whole.
        last_record = replay.last_record if replay.story.last is None else replay.story.last
        self._story = Story(self._boot if is_whole else None, last_record)
        self._begin(max(self._segments, default=0) + 1)
        unpublished = [self._complete(replay, id_, place) for id_, place in replay.intents.items()]
        unpublished += [self._moved(id_, place, replay.damaged) for id_, place in replay.completions.items()]
        self._set_aside(replay.damaged)
        return Recovered(
            epoch=replay.epoch,
            last_record=last_record,
            spent=tuple(replay.spent.values()),
            unpublished=tuple(unpublished),
            without_end=len(replay.intents),
            is_whole=is_whole,
        )

    def _is_whole(self, replay: Replay) -> bool:
        """Whether nothing can be missing: no damage, no gap, and either closed in order or written in this boot."""
        for gap in replay.gaps:
            log.error("journal_gap", where=gap)
        boot = replay.story.boot
        is_complete = not replay.epoch or (boot is not None and (replay.is_closed or (boot == self._boot != "")))
        if not is_complete:
            log.error("journal_may_lack_records", boot=boot, now=self._boot)
        return is_complete and not replay.damaged and not replay.gaps

    def _complete(self, replay: Replay, id_: UUID, intent: Place) -> tuple[UUID, Place]:
        entry = self.entry(intent)
        place = self.completed(entry, intent)
        replay.settle(entry)
        return id_, place

    def _moved(self, id_: UUID, place: Place, damaged: dict[int, str]) -> tuple[UUID, Place]:
        """Out of a damaged segment, which is about to leave the journal."""
        if place.segment not in damaged:
            return id_, place
        entry = self.entry(place)
        moved = self._append(lambda number: entry_line(Kind.COMPLETED, number, entry))
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


def _promised_to(intent: Place) -> int:
    return _room_for_end(intent.length)


def _room_for_end(intent_bytes: int) -> int:
    """The most that a completion can take."""
    return intent_bytes + COMPLETION_MORE_BYTES


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
