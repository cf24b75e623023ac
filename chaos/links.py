"""All links of a run, in a process of their own: they must be fast where nothing is wrong with them.

`python -m chaos.links '{"budget": [9000, 8001, 8002]}'` opens each link at its first port and takes orders from
standard input, a line each (`budget slow 0.2`), which it repeats when they are done.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import uvloop

from chaos.proxy import Link

READY: Final = b"ready\n"


class Links:
    """By name: the port of each link, and those it leads to. The process lives as long as the block."""

    def __init__(self, ports: Mapping[str, tuple[int, Sequence[int]]]) -> None:
        self._spec = {name: [port, *targets] for name, (port, targets) in ports.items()}
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            json.dumps(self._spec),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the harness, which needs the links until the stack is down
        )
        assert await self._heard() == READY
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()

    async def tell(self, name: str, order: str, *arguments: float) -> None:
        """`cut`, `stall`, `slow <seconds>`, `stall_of <process id>` or `mend` one link."""
        assert self._process is not None
        assert self._process.stdin is not None
        line = " ".join((name, order, *map(str, arguments))).encode() + b"\n"
        async with self._turn:
            self._process.stdin.write(line)
            if (heard := await self._heard()) != line:
                raise RuntimeError(f"{line!r}: {heard!r}")

    async def _heard(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


async def _carry(spec: Mapping[str, Sequence[int]]) -> None:
    """Until standard input ends."""
    links = {name: Link(name, port, targets) for name, (port, *targets) in spec.items()}
    async with contextlib.AsyncExitStack() as opened:
        for link in links.values():
            await opened.enter_async_context(link)
        _say(READY)
        orders = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while line := await orders.readline():
            name, order, *arguments = line.decode().split()
            getattr(links[name], order)(*map(float, arguments))
            _say(line)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(_carry(json.loads(sys.argv[1])))
