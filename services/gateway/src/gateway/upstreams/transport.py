"""The seam to providers: one request out, one answer back. aiohttp fills it; see docs/decisions/0010."""

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
from yarl import URL

from gateway.errors import Stage, UpstreamFailed
from gateway.upstreams.directory import Upstream

KEEPALIVE_S: Final = 4.0
"""Shorter than servers keep idle connections (uvicorn: 5 s), so that few requests meet one that is being closed."""
READ_BYTES: Final = 1 << 16


class Answer(Protocol):
    """An answer whose body has not been read. `headers` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises UpstreamFailed where it breaks off."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFailed where it breaks off or is longer than the limit."""
        ...

    def close(self) -> None:
        """Give the connection back, or close it where something is unread."""
        ...


class Transport(Protocol):
    """Sends requests to upstreams."""

    async def send(self, upstream: Upstream, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Returns when the answer's headers are there. Raises UpstreamFailed."""
        ...


class AiohttpTransport:
    """One pool of connections for all upstreams. No redirects, no proxies from the environment, no cookies."""

    def __init__(self, *, connections: int) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                limit_per_host=0,
                ttl_dns_cache=30,
                keepalive_timeout=KEEPALIVE_S,
                enable_cleanup_closed=False,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BYTES,
            raise_for_status=False,
        )
        self._targets: dict[tuple[str, str], tuple[URL, dict[str, str], aiohttp.ClientTimeout]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, upstream: Upstream, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        url, fixed, timeout = self._target(upstream, path)
        try:
            response = await self._session.post(
                url,
                data=body,
                headers={**headers, **fixed} if headers else fixed,
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(error) from error
        return _AiohttpAnswer(response)

    def _target(self, upstream: Upstream, path: str) -> tuple[URL, dict[str, str], aiohttp.ClientTimeout]:
        target = self._targets.get((upstream.name, path))
        if target is None:
            config = upstream.config
            timeout = aiohttp.ClientTimeout(total=config.timeout_s, connect=config.connect_timeout_s)
            url = URL(str(config.base_url).rstrip("/") + path)
            target = self._targets[upstream.name, path] = (url, _fixed_headers(upstream), timeout)
        return target


class _AiohttpAnswer:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(error, sent=True) from error

    async def read(self, limit_bytes: int) -> bytes:
        length = self._response.content_length
        if length is not None and length <= limit_bytes:
            try:
                return await self._response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _failed(error, sent=True) from error
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit_bytes:
                raise UpstreamFailed(Stage.SENT, f"the answer is longer than {limit_bytes} bytes")
        return bytes(body)

    def close(self) -> None:
        self._response.release()


def _fixed_headers(upstream: Upstream) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": "farebox",
    }
    if upstream.api_key is not None:
        key = upstream.api_key.get_secret_value()
        if upstream.dialect == "anthropic":
            headers["x-api-key"] = key
        else:
            headers["authorization"] = f"Bearer {key}"
    return headers


_NOT_SENT: Final[tuple[type[Exception], ...]] = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


def _failed(error: Any, *, sent: bool = False) -> UpstreamFailed:
    detail = f"{type(error).__name__}: {error}"
    if not sent and isinstance(error, _NOT_SENT):
        return UpstreamFailed(Stage.NOT_SENT, detail)
    return UpstreamFailed(Stage.TIMED_OUT if isinstance(error, TimeoutError) else Stage.SENT, detail)
