"""Time zones whose midnight falls where a run wants it.

Real zones are whole quarters of an hour apart, so that none may have its midnight within a run of a minute. A zone is a
file: these are written for the run, and every process of it is told where they are (`PYTHONTZPATH`).
"""

import contextlib
import os
import struct
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

VARIABLE: Final = "PYTHONTZPATH"
_DAY_S: Final = 86_400


def write_zone(folder: Path, name: str, midnight: datetime) -> None:
    """A zone in which a day ends at `midnight` (to the second)."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_tzif(-int(midnight.timestamp()) % _DAY_S))


@contextlib.contextmanager
def zones_in(folder: Path) -> Iterator[None]:
    """While the block lasts, this process and all that it starts find the folder's zones before the machine's."""
    folder.mkdir(parents=True, exist_ok=True)
    before, paths = os.environ.get(VARIABLE), zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(folder), *paths])
    os.environ[VARIABLE] = os.pathsep.join(zoneinfo.TZPATH)
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(paths)
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _tzif(offset_s: int) -> bytes:
    """A zone file (RFC 8536, version 1) of one local time, so many seconds east of UTC, without any transition."""
    offset_s -= _DAY_S if offset_s > _DAY_S // 2 else 0
    abbreviation = b"RUN\0"
    header = struct.pack(">4sc15x6l", b"TZif", b"\0", 0, 0, 0, 0, 1, len(abbreviation))
    return header + struct.pack(">lbb", offset_s, 0, 0) + abbreviation
