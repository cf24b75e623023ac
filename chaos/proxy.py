"""A TCP link that can be cut, slowed and stalled: what happens between two machines, on one."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import psutil

LOOPBACK: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Link:
    """Listens on a port and carries every connection to one of the target ports, in turn.

    Whole until told otherwise. `cut`: connections are reset, new ones too. `stall`: they stand, and nothing arrives.
    `slow`: every chunk is late by so many seconds. `stall_of`: the connections of one process stand. `mend` makes it
    whole; what was held back by a stall arrives then.
    """

    def __init__(self, name: str, port: int, targets: Sequence[int]) -> None:
        self.name = name
        self._port = port
        self._targets = list(targets)
        self._turn = 0
        self._is_cut = False
        self._delay_s = 0.0
        self._is_stalled = False
        self._stalled_pid: int | None = None
        self._flowing: dict[int, asyncio.Event] = {}
        """By the caller's port."""
        self._carried: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._drop_all()
        for task in tuple(self._carried):
            task.cancel()
        if self._carried:
            await asyncio.wait(self._carried)

    def cut(self) -> None:
        self._is_cut = True
        self._drop_all()

    def stall(self) -> None:
        self._is_stalled = True
        for flowing in self._flowing.values():
            flowing.clear()

    def stall_of(self, pid: float) -> None:
        self._stalled_pid = int(pid)
        for port in _ports_of(self._stalled_pid) & self._flowing.keys():
            self._flowing[port].clear()

    def slow(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def mend(self) -> None:
        self._is_cut = False
        self._delay_s = 0.0
        self._is_stalled = False
        self._stalled_pid = None
        for flowing in self._flowing.values():
            flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carried.add(task)
        self._open.add(writer)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            pass  # the link is going away; asyncio's server would report it as an error of ours
        finally:
            self._open.discard(writer)
            await _dropped(writer)
            self._carried.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            return
        far = await self._connect()
        if far is None:
            return
        far_reader, far_writer = far
        self._open.add(far_writer)
        port = writer.get_extra_info("peername")[1]
        flowing = self._flowing[port] = asyncio.Event()
        if not self._stands(port):
            flowing.set()
        try:
            await asyncio.gather(self._pump(reader, far_writer, flowing), self._pump(far_reader, writer, flowing))
        finally:
            self._flowing.pop(port, None)
            self._open.discard(far_writer)
            await _dropped(far_writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The next target that takes a connection."""
        for _ in self._targets:
            self._turn = (self._turn + 1) % len(self._targets)
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(LOOPBACK, self._targets[self._turn])
        return None

    def _stands(self, port: int) -> bool:
        """Whether a new connection from that port is held up from its beginning."""
        return self._is_stalled or (self._stalled_pid is not None and port in _ports_of(self._stalled_pid))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        """One direction, to its end; an end is passed on, a reset drops both directions."""
        try:
            while chunk := await source.read(CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await flowing.wait()
                if sink.is_closing():
                    return
                sink.write(chunk)
                await sink.drain()
            if not sink.is_closing():
                sink.write_eof()
        except OSError:
            _reset(sink)

    def _drop_all(self) -> None:
        for writer in tuple(self._open):
            _reset(writer)


def _ports_of(pid: int) -> set[int]:
    """The local ports of a process's connections; none if there is no such process."""
    try:
        return {each.laddr.port for each in psutil.Process(pid).net_connections("tcp")}
    except psutil.Error:
        return set()


def _reset(writer: asyncio.StreamWriter) -> None:
    """At once, and so that the other end sees an error: no lingering, no end of the stream."""
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        _drop(writer)


async def _dropped(writer: asyncio.StreamWriter) -> None:
    _drop(writer)
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _drop(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
