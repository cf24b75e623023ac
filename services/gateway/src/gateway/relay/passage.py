"""A stream on its way through, and what becomes of it when its caller goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Send

from gateway.dialects.streams import StreamFilter
from gateway.errors import Stage, UpstreamFailed
from gateway.upstreams.directory import UpstreamConfig
from gateway.upstreams.transport import Answer

CANCEL_AFTER_S: Final = 2.0
"""A stream that is about to end tells its usage within so long; of any other the provider need not go on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read from providers."""

    answer_bytes: int
    drain_s: float
    drain_bytes: int
    believed_tokens: int


class Passage:
    """When the caller goes, the stream is read on for its usage: `drain_s` and `drain_bytes` at most where the upstream
    is to finish, else CANCEL_AFTER_S. Then its connection is closed, which tells the provider to stop."""

    def __init__(
        self, upstream: UpstreamConfig, limits: Limits, receive: Receive, monotonic: Callable[[], float]
    ) -> None:
        finishes = upstream.on_disconnect == "finish"
        self._timeout_s = upstream.timeout_s
        self._patience_s = limits.drain_s if finishes else min(limits.drain_s, CANCEL_AFTER_S)
        self._left_bytes = limits.drain_bytes
        self._receive = receive
        self._monotonic = monotonic
        self._watch: asyncio.Task[None] | None = None
        self._timeout: asyncio.Timeout | None = None
        self._until = float("inf")
        self.caller_is_gone = False
        self.first_byte_at: float | None = None

    async def begin(self, sent: Awaitable[Answer]) -> Answer:
        """Wait for the headers of an answer that is to be a stream. Raises UpstreamFailed."""
        async with self._in_time():
            return await sent

    async def carry(self, stream: StreamFilter, answer: Answer, send: Send) -> UpstreamFailed | None:
        """Pass everything on; returns what broke it off, if something did."""
        try:
            async with self._in_time():
                async for chunk in answer.chunks():
                    if self.first_byte_at is None:
                        self.first_byte_at = self._monotonic()
                    await self._pass(stream.feed(chunk), send)
                    if self.caller_is_gone and not self._goes_on(len(chunk)):
                        break
                else:
                    stream.is_whole = True
                await self._pass(stream.finish(), send)
        except UpstreamFailed as error:
            return error
        return None

    async def close(self, ending: bytes, send: Send) -> None:
        if not self.caller_is_gone:
            await send({"type": "http.response.body", "body": ending, "more_body": False})

    def stop(self) -> None:
        """Look no longer whether the caller goes."""
        if self._watch is not None:
            self._watch.cancel()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        if self._watch is None:
            self._watch = asyncio.create_task(self._until_caller_goes())
        try:
            async with asyncio.timeout(self._timeout_s) as self._timeout:
                self._hurry()
                yield
        except TimeoutError as error:
            said = "its caller has gone" if self.caller_is_gone else f"it did not end within {self._timeout_s:g} s"
            raise UpstreamFailed(Stage.TIMED_OUT, f"the stream was left: {said}") from error
        finally:
            self._timeout = None

    async def _until_caller_goes(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.caller_is_gone = True
        self._until = asyncio.get_running_loop().time() + self._patience_s
        self._hurry()

    def _hurry(self) -> None:
        """Wait no longer than for a caller who has gone."""
        timeout = self._timeout
        if self.caller_is_gone and timeout is not None and not timeout.expired():
            timeout.reschedule(min(timeout.when() or self._until, self._until))

    async def _pass(self, data: bytes, send: Send) -> None:
        if data and not self.caller_is_gone:
            await send({"type": "http.response.body", "body": data, "more_body": True})

    def _goes_on(self, length: int) -> bool:
        self._left_bytes -= length
        return self._left_bytes > 0
