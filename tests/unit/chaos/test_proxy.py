"""A link carries, cuts, stalls and balances as told. Real sockets on loopback."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos.proxy import LOOPBACK, Link
from farebox_local.ports import free_port


@asynccontextmanager
async def echo(prefix: bytes = b"") -> AsyncIterator[int]:
    """A server that says what it hears, after its own name; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        with contextlib.suppress(OSError):
            while heard := await reader.read(100):
                writer.write(prefix + heard)
        await closed(writer)

    answering: set[asyncio.Task[None] | None] = set()
    server = await asyncio.start_server(answer, LOOPBACK, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.gather(*(task for task in answering if task))


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def say(port: int, text: bytes) -> bytes:
    """What one connection answers; nothing if it is dropped."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(text)
        writer.write_eof()
        return await reader.read()
    except OSError:
        return b""
    finally:
        await closed(writer)


async def test_a_whole_link_carries_both_ways_to_the_end() -> None:
    async with echo() as target, Link("l", port := free_port(), [target]):
        assert await say(port, b"hello") == b"hello"


async def test_a_cut_link_drops_old_and_new_connections_until_it_is_mended() -> None:
    async with echo() as target, Link("l", port := free_port(), [target]) as link:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        link.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await closed(writer)
        assert await say(port, b"b") == b""
        link.mend()
        assert await say(port, b"c") == b"c"


async def test_a_stalled_link_holds_everything_back_and_loses_nothing() -> None:
    async with echo() as target, Link("l", port := free_port(), [target]) as link:
        link.stall()
        answer = asyncio.create_task(say(port, b"late"))
        assert not (await asyncio.wait([answer], timeout=0.1))[0]
        link.mend()
        assert await answer == b"late"


async def test_the_connections_of_one_process_stand_while_those_of_others_go_on() -> None:
    async with echo() as target, Link("l", port := free_port(), [target]) as link:
        link.stall_of(os.getppid())
        assert await say(port, b"others") == b"others"
        link.stall_of(os.getpid())
        answer = asyncio.create_task(say(port, b"ours"))
        assert not (await asyncio.wait([answer], timeout=0.1))[0]
        link.mend()
        assert await answer == b"ours"


async def test_a_slow_link_arrives() -> None:
    async with echo() as target, Link("l", port := free_port(), [target]) as link:
        link.slow(0.01)
        assert await say(port, b"slow") == b"slow"


async def test_connections_take_turns_and_one_that_is_away_is_passed_over() -> None:
    async with echo(b"1") as one, echo(b"2") as two:
        async with Link("l", port := free_port(), [one, two]):
            assert {await say(port, b"x") for _ in range(2)} == {b"1x", b"2x"}
        async with Link("l", port := free_port(), [one, free_port()]):
            assert {await say(port, b"x") for _ in range(2)} == {b"1x"}
