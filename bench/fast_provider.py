"""A provider that is never the limit: raw HTTP/1.1 on uvloop, one answer, no routing, no parsing.

    python bench/fast_provider.py --port 9001

A request whose body says `"stream":true` gets a stream of CHUNKS events, TICK_S apart; any other a JSON answer.
"""

import argparse
import asyncio
from typing import Final, cast

import orjson
import uvloop

CHUNKS: Final = 100
TICK_S: Final = 0.002

_FRAME: Final = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o", "service_tier": "default"}
_USAGE: Final = {"prompt_tokens": 12, "completion_tokens": CHUNKS, "total_tokens": 12 + CHUNKS}
_BODY: Final = orjson.dumps(
    {
        **_FRAME,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello there." * 8}, "finish_reason": "stop"}
        ],
        "usage": _USAGE,
    }
)
_JSON: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(data: dict[str, object] | None) -> bytes:
    event = b"data: " + (b"[DONE]" if data is None else orjson.dumps(data)) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


_DELTA: Final = _chunk(
    {
        **_FRAME,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}],
        "usage": None,
    }
)
_END: Final = (
    _chunk({**_FRAME, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}) + _chunk(None) + b"0\r\n\r\n"
)


class Connection(asyncio.Protocol):
    """One connection; a request is whole when its announced length is there."""

    streams: Final[dict["Connection", int]] = {}
    """Streams under way and the events they have yet to send."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own
        self._buffer = b""

    def connection_lost(self, _: Exception | None) -> None:
        self.streams.pop(self, None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._buffer[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < head + 4 + length:
            return
        is_stream = b'"stream":true' in self._buffer
        self._buffer = self._buffer[head + 4 + length :]
        if is_stream:
            self.transport.write(_HEAD + _DELTA)
            self.streams[self] = CHUNKS - 1
        else:
            self.transport.write(_JSON)

    @classmethod
    def tick(cls) -> None:
        """The next event of every stream."""
        for connection, left in list(cls.streams.items()):
            if left > 1:
                cls.streams[connection] = left - 1
                connection.transport.write(_DELTA)
            else:
                del cls.streams[connection]
                connection.transport.write(_DELTA + _END)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=1024)
    async with server:
        due = loop.time()
        while True:
            Connection.tick()
            due = max(due + TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
