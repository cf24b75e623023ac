"""`/api/*`: administrative calls on their way to the service that answers them, with the caller's role."""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final

import httpx
import structlog
from starlette.requests import Request
from starlette.responses import Response

from farebox.auth import Caller, Role, key_hash, sign
from farebox.clock import Clock
from farebox.errors import NotFound, Transient, Unauthenticated
from farebox.http import BODY_LIMIT_BYTES, TooLarge
from gateway.admission.reservations import Reservations
from gateway.http.model_calls import key_of

log = structlog.get_logger()

OWNERS: Final[Mapping[str, str]] = {
    "accounts": "budget",
    "keys": "budget",
    "budgets": "budget",
    "balances": "budget",
    "suspended-shares": "budget",
    "uncertain": "budget",
    "usage": "metering",
    "charges": "metering",
    "prices": "metering",
    "suspense": "metering",
    "channels": "notifier",
    "deliveries": "notifier",
    "alerts": "notifier",
}
"""The first word behind `/api/`, and the service that answers it (ARCHITECTURE, `/api`)."""

TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0, pool=5.0)
LIMITS: Final = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=4.0)

_SENT_ON: Final = ("content-type", "accept", "accept-language", "if-none-match", "idempotency-key")
_PASSED_BACK: Final = ("content-type", "etag", "location", "retry-after", "content-disposition", "cache-control")


class ServiceAway(Transient):
    """The service behind a path cannot be reached."""


class Proxy:
    """Forwards unchanged but for who is asking. `services` are root URLs by name."""

    def __init__(
        self,
        services: Mapping[str, str],
        *,
        secret: str,
        admin_token: str,
        reservations: Reservations,
        clock: Clock,
        client: httpx.AsyncClient,
    ) -> None:
        self._services = {name: url.rstrip("/") for name, url in services.items()}
        self._secret = secret
        self._admin_token = admin_token.encode()
        self._reservations = reservations
        self._clock = clock
        self._client = client

    async def __call__(self, request: Request) -> Response:
        """Raises Unauthenticated, NotFound, TooLarge, ServiceAway; an answer of the service passes as it is."""
        caller = await self._caller(request)
        path = request.url.path
        owner = OWNERS.get(path.removeprefix("/api/").partition("/")[0])
        if owner is None or "//" in path or "/." in path:
            raise NotFound(f"there is nothing at {path}")
        raw_path = request.scope["raw_path"].decode("latin-1")  # what is escaped stays escaped
        headers = {name: value for name in _SENT_ON if (value := request.headers.get(name))}
        headers["authorization"] = f"Bearer {sign(self._secret, caller, self._clock.now())}"
        url = httpx.URL(self._services[owner] + raw_path, query=request.url.query.encode())
        try:
            answer = await self._client.request(
                request.method, url, headers=headers, content=await _body(request), timeout=TIMEOUT
            )
        except httpx.HTTPError as error:
            log.warning("service_away", service=owner, error=repr(error))
            raise ServiceAway(f"{owner} cannot be reached at the moment") from error
        passed = {name: value for name in _PASSED_BACK if (value := answer.headers.get(name))}
        return Response(answer.content, answer.status_code, passed)

    async def _caller(self, request: Request) -> Caller:
        """The admin token makes a platform-admin; an API key makes a viewer of its user's account."""
        shown = key_of(dict(request.headers.raw))
        if shown is None:
            raise Unauthenticated("send the admin token or an API key as Authorization: Bearer …")
        if compare_digest(shown.encode(), self._admin_token):
            return Caller("gateway", Role.PLATFORM_ADMIN)
        key_policy = await self._reservations.key_policy(key_hash(shown))
        return Caller("gateway", Role.VIEWER, key_policy.who.viewed)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise TooLarge(f"the body is over {BODY_LIMIT_BYTES} bytes")
    return bytes(body)


def client() -> httpx.AsyncClient:
    """The connections to the services: no redirects, no proxies from the environment."""
    return httpx.AsyncClient(limits=LIMITS, timeout=TIMEOUT, follow_redirects=False, trust_env=False)
