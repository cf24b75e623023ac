"""Links in a process of their own do what they are told, each by its name."""

import asyncio

import pytest

from chaos.links import Links
from chaos.proxy import LOOPBACK
from farebox_local.ports import free_port


async def answer(port: int) -> bytes:
    """What comes through a link from a server that says `hi`."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        return await reader.read(2)
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


async def test_links_are_cut_and_mended_by_name() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, LOOPBACK, 0)
    target, one, two = server.sockets[0].getsockname()[1], free_port(), free_port()
    async with Links({"one": (one, [target]), "two": (two, [target])}) as links:
        await links.tell("one", "cut")
        assert (await answer(one), await answer(two)) == (b"", b"hi")
        await links.tell("one", "mend")
        await links.tell("two", "slow", 0.01)
        assert (await answer(one), await answer(two)) == (b"hi", b"hi")
        with pytest.raises(RuntimeError):
            await links.tell("three", "cut")
    server.close()
