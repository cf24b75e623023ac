"""A gateway's disk that loses power: it comes back as it was some seconds ago."""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

LOOK_EVERY_S: Final = 0.5
REMEMBERED_S: Final = 30.0
LOOK_BYTES: Final = 1 << 16
Sizes: TypeAlias = Mapping[str, int]


class Disk:
    """The journals below one folder, one a gateway. `watch` notes how long their files are, until it is cancelled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._noted: list[tuple[float, dict[str, Sizes]]] = []

    def journal(self, gateway: str) -> Path:
        return self._folder / gateway

    def segments(self, gateway: str) -> Sequence[Path]:
        """The files of a journal, the oldest first."""
        return sorted(self.journal(gateway).glob("segment-*.journal"))

    @property
    def looks(self) -> Sequence[float]:
        """When it was looked at, as far as that is remembered (monotonic seconds)."""
        return [at for at, _ in self._noted]

    async def watch(self) -> None:
        while True:
            now = time.monotonic()
            self._noted = [each for each in self._noted if each[0] > now - REMEMBERED_S]
            self._noted.append((now, {each.name: self._sizes(each.name) for each in self._folder.glob("*")}))
            await asyncio.sleep(LOOK_EVERY_S)

    def lose_power(self, gateway: str, seconds: float) -> None:
        """Cut the journal of a gateway that is down back to what it was. Files that were deleted since stay deleted.

        Its machine boots anew.
        """
        self.boot(gateway)
        before = time.monotonic() - seconds
        noted = [sizes for at, sizes in self._noted if at <= before and gateway in sizes]
        if not noted:
            return
        for path in self.segments(gateway):
            size = noted[-1][gateway].get(path.name)
            if size is None:
                path.unlink()
            elif size < path.stat().st_size:
                with path.open("r+b") as file:
                    file.truncate(size)

    def boot(self, gateway: str) -> None:
        """Another boot of its machine."""
        self.boot_id_file(gateway).write_text(str(uuid.uuid4()))

    def boot_id_file(self, gateway: str) -> Path:
        return self._folder.parent / f"boot-of-{gateway}"

    def _sizes(self, gateway: str) -> Sizes:
        found = {}
        for path in self.segments(gateway):
            try:
                found[path.name] = _written(path)
            except FileNotFoundError:
                continue  # its gateway has just deleted it
        return found


def _written(path: Path) -> int:
    """How long its records are. Behind them the gateway takes room ahead, which is zero."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while end:
            begin = max(0, end - LOOK_BYTES)
            file.seek(begin)
            if found := file.read(end - begin).rstrip(b"\0"):
                return begin + len(found)
            end = begin
    return 0
