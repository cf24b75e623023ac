"""The budget service's share API as the gateway calls it: one method a path, errors of one tree."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol, TypeVar

import aiohttp
import structlog

from farebox.auth import CLOCK_SKEW, TOKEN_LIFE, Caller, Role, sign
from farebox.clock import Clock
from farebox.shares import Beat, BeatAnswer, RaiseAnswer, RaiseRequest, StartAnswer, StartRequest, Wire
from gateway.errors import BudgetAway, Fenced

log = structlog.get_logger()

TIMEOUT_S: Final = 3.0
START_TIMEOUT_S: Final = 30.0
"""A start accounts for every share of the epoch before."""
CONNECTIONS: Final = 64
_TOKEN_REUSED_S: Final = 60.0

WireT = TypeVar("WireT", bound=Wire)


class ShareService(Protocol):
    """The share API. Raises BudgetAway when there is no useful answer, Fenced when this gateway's epoch is over."""

    async def start(self, request: StartRequest) -> StartAnswer:
        """A new epoch, or this process's own."""
        ...

    async def raise_shares(self, request: RaiseRequest) -> RaiseAnswer:
        """Policies and totals, an answer to each ask."""
        ...

    async def beat(self, beat: Beat) -> BeatAnswer:
        """Totals both ways."""
        ...


class _Token(NamedTuple):
    """What this gateway shows, when that says it was made, and until when it is shown on the monotonic clock."""

    text: str
    made: datetime
    until: float


class _Answer(NamedTuple):
    status: int
    body: bytes
    date: str
    """The service's clock, as HTTP has it; empty if it did not say."""


class BudgetService:
    """ShareService over HTTP.

    Tokens state an instant, which the service holds against its own wall clock. Here that is counted on the monotonic
    clock, from the start on, and where the service refuses a token, from what its clock says: a wall clock that jumps,
    on either side, keeps no beat from being heard.
    """

    def __init__(self, url: str, *, secret: str, clock: Clock) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._clock = clock
        self._anchor = clock.now(), clock.monotonic()
        self._token = self._made()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def start(self, request: StartRequest) -> StartAnswer:
        return await self._post("starts", request, StartAnswer, START_TIMEOUT_S)

    async def raise_shares(self, request: RaiseRequest) -> RaiseAnswer:
        return await self._post("raises", request, RaiseAnswer, TIMEOUT_S)

    async def beat(self, beat: Beat) -> BeatAnswer:
        return await self._post("beats", beat, BeatAnswer, TIMEOUT_S)

    async def _post(self, path: str, request: Wire, answer: type[WireT], timeout_s: float) -> WireT:
        data, token = request.model_dump_json().encode(), self._shown()
        got = await self._sent(path, data, token, timeout_s)
        if got.status == HTTPStatus.UNAUTHORIZED and self._was_off(token, got.date):
            got = await self._sent(path, data, self._shown(), timeout_s)
        if got.status == HTTPStatus.OK:
            try:
                return answer.model_validate_json(got.body)
            except ValueError as error:
                raise BudgetAway(f"{path}: an answer that cannot be read") from error
        if got.status == HTTPStatus.CONFLICT:
            raise Fenced("a newer process has claimed this gateway's name")
        raise BudgetAway(f"{path}: status {got.status}")

    async def _sent(self, path: str, data: bytes, token: _Token, timeout_s: float) -> _Answer:
        try:
            async with self._session.post(
                f"{self._url}/internal/v2/{path}",
                data=data,
                headers={"authorization": f"Bearer {token.text}", "content-type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as response:
                return _Answer(response.status, await response.read(), response.headers.get("date", ""))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BudgetAway(f"{path}: {type(error).__name__}: {error}") from error

    def _shown(self) -> _Token:
        if self._clock.monotonic() >= self._token.until:
            self._token = self._made()
        return self._token

    def _made(self) -> _Token:
        (at, then), now = self._anchor, self._clock.monotonic()
        made = at + timedelta(seconds=now - then)
        return _Token(sign(self._secret, Caller("gateway", Role.SERVICE), made), made, now + _TOKEN_REUSED_S)

    def _was_off(self, token: _Token, date: str) -> bool:
        """Whether the token was refused for its time. Then those from now on go by the service's clock."""
        try:
            theirs = parsedate_to_datetime(date)
        except ValueError:
            return False
        if -CLOCK_SKEW <= theirs - token.made <= TOKEN_LIFE:
            return False
        if token is self._token:
            log.warning("clocks_differ", budget=theirs.isoformat(), gateway=token.made.isoformat())
            self._anchor = theirs, self._clock.monotonic()
            self._token = self._made()
        return True
