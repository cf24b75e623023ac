"""One file of the journal: records one after the other, and behind them room that the disk has given already."""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

AHEAD_BYTES: Final = 64 << 10
"""Taken from the disk beyond what is needed, so that it is asked once for many records."""


@dataclass(slots=True, eq=False)
class Segment:
    """`size` is the length of its records; the file itself is longer, and zero from there on."""

    number: int
    path: Path
    file: int
    size: int = 0
    taken: int = 0
    """Up to here the disk has given room: nothing else can have it."""
    unfinished: int = 0
    """Attempts whose newest record is in here and whose event is not known to be published."""

    @classmethod
    def create(cls, number: int, path: Path) -> Self:
        """An empty file. Raises OSError."""
        return cls(number, path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))

    def make_room(self, length: int) -> None:
        """Take it from the disk, so that so much more can be written though it fills up. Raises OSError."""
        needed = self.size + length
        if needed <= self.taken:
            return
        try:
            self._take(needed + AHEAD_BYTES)
        except OSError:
            self._take(needed)

    def write(self, data: bytes) -> None:
        """At the end of the records, in room that was made. Raises OSError, and then the record is not there."""
        self._write(data)
        self.size += len(data)

    def try_to_write(self, length: int) -> None:
        """Whether the disk takes so much at the end of the records, which stay as they are. Raises OSError."""
        self._write(bytes(length))

    def trim(self) -> None:
        """Give the room behind the records back. A disk that refuses even that keeps it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.file, self.size)
            self.taken = self.size

    def remove(self) -> None:
        os.close(self.file)
        self.path.unlink(missing_ok=True)

    def _take(self, end: int) -> None:
        try:
            os.posix_fallocate(self.file, self.taken, end - self.taken)
        except OSError:
            os.ftruncate(self.file, self.taken)  # a disk may give a part of it
            raise
        self.taken = end

    def _write(self, data: bytes) -> None:
        """What a failed write leaves behind the records has no line end, so that a reader takes it for torn."""
        if os.pwrite(self.file, data, self.size) != len(data):
            raise OSError(errno.EIO, "the disk took only part of a record")
