"""The budget service's lease API as the gateway calls it: one method a path, errors of one tree."""

from typing import Final, Protocol, TypeVar

import aiohttp

from farebox.auth import Caller, Role, sign
from farebox.clock import Clock
from farebox.leasing import GrantAnswer, GrantRequest, Heartbeat, HeartbeatAnswer, StartAnswer, StartRequest, Wire
from gateway.errors import BudgetAway, Fenced, UnknownKey

TIMEOUT_S: Final = 3.0
START_TIMEOUT_S: Final = 30.0
"""A start closes every old lease in one transaction."""
CONNECTIONS: Final = 64
_TOKEN_REUSED_S: Final = 60.0

WireT = TypeVar("WireT", bound=Wire)


class LeaseService(Protocol):
    """The lease API. Raises BudgetAway when there is no useful answer, Fenced when this gateway's epoch is over."""

    async def start(self, request: StartRequest) -> StartAnswer:
        """A new epoch."""
        ...

    async def grant(self, request: GrantRequest) -> GrantAnswer:
        """Policy and lease. Raises UnknownKey besides."""
        ...

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatAnswer:
        """Reports there, recalls back."""
        ...


class BudgetService:
    """LeaseService over HTTP."""

    def __init__(self, url: str, *, secret: str, clock: Clock) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._clock = clock
        self._token = ""
        self._token_until = 0.0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def start(self, request: StartRequest) -> StartAnswer:
        return await self._post("starts", request, StartAnswer, START_TIMEOUT_S)

    async def grant(self, request: GrantRequest) -> GrantAnswer:
        return await self._post("grants", request, GrantAnswer, TIMEOUT_S)

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatAnswer:
        return await self._post("heartbeats", beat, HeartbeatAnswer, TIMEOUT_S)

    async def _post(self, path: str, request: Wire, answer: type[WireT], timeout_s: float) -> WireT:
        try:
            async with self._session.post(
                f"{self._url}/internal/v1/{path}",
                data=request.model_dump_json().encode(),
                headers={"authorization": f"Bearer {self._bearer()}", "content-type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BudgetAway(f"{path}: {type(error).__name__}: {error}") from error
        if status == 200:
            try:
                return answer.model_validate_json(body)
            except ValueError as error:
                raise BudgetAway(f"{path}: an answer that cannot be read") from error
        if status == 409:
            raise Fenced("a newer process has claimed this gateway's name")
        if status == 401 and path == "grants":
            raise UnknownKey("the API key is not valid")
        raise BudgetAway(f"{path}: status {status}")

    def _bearer(self) -> str:
        now = self._clock.monotonic()
        if now >= self._token_until:
            self._token = sign(self._secret, Caller("gateway", Role.SERVICE), self._clock.now())
            self._token_until = now + _TOKEN_REUSED_S
        return self._token
