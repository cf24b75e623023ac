"""A disk that loses power comes back as it was some seconds before."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from chaos.disk import LOOK_BYTES, Disk
from support.eventually import eventually


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "gateway").mkdir()
    return Disk(tmp_path)


async def noted(disk: Disk) -> None:
    """Until the disk has been looked at once."""
    watch = asyncio.create_task(disk.watch())
    await eventually(lambda: bool(disk.looks))
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


async def test_what_was_written_since_is_lost(disk: Disk) -> None:
    old, new = (disk.journal("gateway") / f"segment-{number}.journal" for number in (1, 2))
    old.write_bytes(b"kept")
    await noted(disk)
    old.write_bytes(b"kept, and lost")
    new.write_bytes(b"lost")
    disk.lose_power("gateway", time.monotonic() - disk.looks[-1])
    assert (old.read_bytes(), new.exists()) == (b"kept", False)


@pytest.mark.parametrize("room", [10, 2 * LOOK_BYTES])
async def test_room_that_was_taken_ahead_holds_nothing_that_could_be_kept(disk: Disk, room: int) -> None:
    path = disk.journal("gateway") / "segment-1.journal"
    path.write_bytes(b"kept".ljust(room, b"\0"))
    await noted(disk)
    path.write_bytes(b"kept, and lost".ljust(room, b"\0"))
    disk.lose_power("gateway", time.monotonic() - disk.looks[-1])
    assert path.read_bytes() == b"kept"


async def test_nothing_is_lost_of_a_disk_that_was_not_looked_at(disk: Disk) -> None:
    path = disk.journal("gateway") / "segment-1.journal"
    path.write_bytes(b"kept")
    disk.lose_power("gateway", 1.0)
    assert path.read_bytes() == b"kept"
