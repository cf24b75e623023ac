"""The hot path as a raw ASGI endpoint: who calls, what they ask, may it go out, and the answer."""

from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from farebox.auth import key_hash
from farebox.clock import Clock
from farebox.errors import FareboxError
from gateway import metrics
from gateway.admission.reservations import Reservations
from gateway.admission.verdict import Refused
from gateway.dialects.call import Call, Headers, body_of, call_of
from gateway.errors import BadCall, ModelNotFound, NoKey, UnknownKey
from gateway.policy.policies import Policies
from gateway.refusals import refusals
from gateway.refusals.refusals import Refusal
from gateway.relay.dispatch import Dispatch, answer_refusal
from gateway.upstreams.directory import Dialect, Directory, Upstream

log = structlog.get_logger()

KEY_BYTES_MAX: Final = 512
LONG_BODY_BYTES: Final = 1 << 16
"""A longer body is read only for a key that is known: it may take a second, in which no other call is served."""
_JSON: Final = b"application/json"


class CallerGone(Exception):
    """The caller hung up before it had said what it wanted."""


class ModelCalls:
    """`POST` of one dialect's calls. One object a dialect; everything behind it is shared."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        directory: Directory,
        reservations: Reservations,
        dispatch: Dispatch,
        policies: Policies,
        clock: Clock,
        body_limit_bytes: int,
        max_tokens_limit: int,
    ) -> None:
        self._dialect = dialect
        self._directory = directory
        self._reservations = reservations
        self._dispatch = dispatch
        self._policies = policies
        self._clock = clock
        self._body_limit_bytes = body_limit_bytes
        self._max_tokens_limit = max_tokens_limit
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await answer_refusal(refusals.NOT_POST, self._dialect, send, [])
            return
        self.under_way += 1
        try:
            refusal = await self._serve(dict(scope["headers"]), receive, send)
        except CallerGone:
            return
        except FareboxError as error:
            refusal = refusals.of(error)
        except Exception as error:
            log.error("call_failed", error=type(error).__name__, exc_info=error)
            refusal = refusals.UNEXPECTED
        finally:
            self.under_way -= 1
        if refusal is not None:
            metrics.REFUSED.labels(refusal.code).inc()
            await answer_refusal(refusal, self._dialect, send, [])

    async def _serve(self, headers: Headers, receive: Receive, send: Send) -> Refusal | None:
        """A refusal to answer with, or None when the caller has its answer."""
        hashed = self._hashed(headers)
        try:
            call, upstream = await self._read(hashed, headers, receive)
        except BadCall:
            await self._reservations.key_policy(hashed)  # authenticate first: unknown keys get no validation details
            raise
        verdict = await self._reservations.make(hashed, call, upstream)
        if isinstance(verdict, Refused):
            return refusals.refused(verdict, call.model, self._clock.now())
        await self._dispatch.run(verdict, headers, receive, send)
        return None

    def _hashed(self, headers: Headers) -> str:
        api_key = key_of(headers)
        if api_key is None:
            raise NoKey("send your API key as `Authorization: Bearer …`")
        hashed = key_hash(api_key)
        if self._policies.is_unknown(hashed, self._clock.monotonic()):
            raise UnknownKey("the API key is not valid")
        return hashed

    async def _read(self, hashed: str, headers: Headers, receive: Receive) -> tuple[Call, Upstream]:
        """The call, and where it would go; what its fields mean depends on that."""
        content_type = headers.get(b"content-type", b"").lower()
        if not content_type.startswith(_JSON):
            raise BadCall("send the body as application/json", status=415, code="unsupported_media_type")
        raw = await self._body(headers, receive)
        if len(raw) > LONG_BODY_BYTES:
            await self._reservations.key_policy(hashed)
        body = body_of(raw)
        upstream = self._directory.find(self._dialect, body.model)
        if upstream is None:
            raise ModelNotFound(body.model)
        limit, provider = self._max_tokens_limit, upstream.provider
        call = call_of(self._dialect, body, headers, max_tokens_limit=limit, provider=provider)
        for model in call.candidates:
            if not upstream.serves(model):
                raise ModelNotFound(model)
        return call, upstream

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        limit = self._body_limit_bytes
        announced = headers.get(b"content-length", b"0")
        if len(announced) > 12 or not announced.isdigit() or int(announced) > limit:
            raise _too_large(limit)
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body") and message["type"] == "http.request":
            return _bounded(body, limit)
        parts = [body]
        length = len(body)
        while message["type"] == "http.request" and message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            length += len(parts[-1])
            if length > limit:
                raise _too_large(limit)
        if message["type"] == "http.disconnect":
            raise CallerGone
        return b"".join(parts)


def key_of(headers: Headers) -> str | None:
    """The API key a request shows, as OpenAI's SDK (`Authorization: Bearer`) or Anthropic's (`x-api-key`) sends it."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, shown = authorization.partition(b" ")
        key = shown.strip() if scheme.lower() == b"bearer" else b""
    else:
        key = headers.get(b"x-api-key", b"").strip()
    return key.decode("latin-1") if 0 < len(key) <= KEY_BYTES_MAX else None


def _bounded(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> BadCall:
    return BadCall(f"the body is over {limit} bytes", status=413, code="body_too_large")
