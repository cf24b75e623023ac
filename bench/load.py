"""A load generator that costs little: raw HTTP/1.1 on uvloop, one request at a time on each connection.

    python bench/load.py --url http://127.0.0.1:8080/v1/chat/completions --key fbx_… --connections 32 --seconds 10

Prints one JSON object: requests, errors, seconds, events and bytes received, latency and time to first byte (seconds).
"""

import argparse
import asyncio
import json
import random
import time
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop

MESSAGES: Final = [
    {"role": "system", "content": "You are a helpful assistant that answers briefly."},
    {"role": "user", "content": "What is the capital of Vietnam, and how many people live there?"},
]


def request(url: str, key: str, *, stream: bool) -> bytes:
    """The one request that is sent again and again."""
    parts = urlsplit(url)
    asked: dict[str, object] = {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 256}
    if stream:
        asked["stream"] = True
    body = json.dumps(asked, separators=(",", ":")).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Tally:
    """What all connections saw, from `begin` to `end` on the monotonic clock."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.first_bytes: list[float] = []
        self.errors = 0
        self.events = 0
        self.received = 0


class Connection(asyncio.Protocol):
    """Sends the request, waits for the whole answer, sends it again: at once, or `every_s` after the last."""

    def __init__(self, wire: bytes, tally: Tally, every_s: float = 0.0) -> None:
        self._wire = wire
        self.tally = tally
        self._every_s = every_s
        self._is_stream = b'"stream":true' in wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._every_s * random.random()  # noqa: S311 - a load, not a secret
        self._next()

    def connection_lost(self, _: Exception | None) -> None:
        self.tally.errors += 1

    def _next(self) -> None:
        if not self._every_s:
            self._send()
            return
        self._loop.call_at(self._due, self._send)
        self._due = max(self._due + self._every_s, self._loop.time())

    def _send(self) -> None:
        self._left: int | None = None
        self._buffer = b""
        self._sent_at = time.perf_counter()
        self._is_first = True
        self._transport.write(self._wire)

    def data_received(self, data: bytes) -> None:
        tally = self.tally
        tally.received += len(data)
        if self._is_stream:
            self._stream(data)
            return
        self._buffer += data
        if self._left is None:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            lower = self._buffer[:head].lower()
            if not lower.startswith(b"http/1.1 200"):
                tally.errors += 1
            at = lower.find(b"content-length:")
            self._left = head + 4 + int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= self._left:
            tally.latencies.append(time.perf_counter() - self._sent_at)
            self._next()

    def _stream(self, data: bytes) -> None:
        tally = self.tally
        events = data.count(b"data:")
        tally.events += events
        if self._is_first and events:
            self._is_first = False
            tally.first_bytes.append(time.perf_counter() - self._sent_at)
            if not data.startswith(b"HTTP/1.1 200") and b"HTTP/1.1" in data[:9]:
                tally.errors += 1
        if data.endswith(b"\r\n0\r\n\r\n") or data == b"0\r\n\r\n":
            tally.latencies.append(time.perf_counter() - self._sent_at)
            self._next()


async def run(
    url: str, key: str, connections: int, seconds: float, *, stream: bool, per_s: float = 0.0
) -> dict[str, object]:
    parts = urlsplit(url)
    wire = request(url, key, stream=stream)
    loop = asyncio.get_running_loop()
    warming, tally = Tally(), Tally()
    every_s = connections / per_s if per_s else 0.0
    made = [Connection(wire, warming, every_s) for _ in range(connections)]
    for connection in made:
        await loop.create_connection(partial(_itself, connection), parts.hostname or "", parts.port or 80)
    await asyncio.sleep(min(2.0, seconds / 4))
    for connection in made:
        connection.tally = tally
    begun = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - begun
    done = tally.latencies
    return {
        "requests": len(done),
        "all_requests": len(done) + len(warming.latencies),
        "errors": tally.errors + warming.errors,
        "seconds": took,
        "events": tally.events,
        "bytes": tally.received,
        "latency": quantiles(done),
        "first_byte": quantiles(tally.first_bytes),
    }


def _itself(connection: Connection) -> Connection:
    return connection


def quantiles(figures: list[float]) -> dict[str, float]:
    """p50, p99 in seconds; empty for none."""
    ordered = sorted(figures)
    if not ordered:
        return {}
    return {f"p{q}": ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--per-s", type=float, default=0.0, help="requests a second in all; as fast as it goes if 0")
    given = parser.parse_args()
    how = {"stream": given.stream, "per_s": given.per_s}
    found = uvloop.run(run(given.url, given.key, given.connections, given.seconds, **how))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
