"""One attempt from end to end: out to the provider, its answer back to the caller, its usage into the books."""

from collections.abc import Awaitable, Mapping
from typing import Any, Final

import orjson
import structlog
from starlette.types import Receive, Send

from farebox.clock import Clock
from farebox.money import decimal_text
from gateway.admission.verdict import Reservation
from gateway.attempts.attempts import Attempt, Attempts
from gateway.attempts.event import STATUS_MAX, Outcome, OutcomeName
from gateway.attempts.report import Seen, outcome_of
from gateway.dialects.call import Headers
from gateway.dialects.reports import Report
from gateway.dialects.streams import StreamFilter
from gateway.dialects.usage import NOTHING, tokens_of
from gateway.errors import Stage, UpstreamFailed
from gateway.refusals.refusals import UPSTREAM_LOCKED_OUT, Refusal, upstream_failed
from gateway.relay.passage import Limits, Passage
from gateway.shares.shares import Shares
from gateway.upstreams.directory import Upstream
from gateway.upstreams.transport import Answer, Transport

log = structlog.get_logger()

_PATHS: Final = {"openai": "/chat/completions", "anthropic": "/messages"}
_PASSED_BACK: Final = (
    "content-type",
    "content-encoding",
    "retry-after",
    "x-request-id",
    "request-id",
    "x-should-retry",
)
_OUTCOMES: Final[Mapping[Stage, OutcomeName]] = {
    Stage.NOT_SENT: "unreachable",
    Stage.SENT: "provider_error",
    Stage.TIMED_OUT: "timeout",
}

RawHeaders = list[tuple[bytes, bytes]]


class Dispatch:
    """Sends admitted calls. Whatever happens on the way, every attempt that was begun is ended."""

    def __init__(
        self, *, transport: Transport, attempts: Attempts, shares: Shares, clock: Clock, limits: Limits
    ) -> None:
        self._transport = transport
        self._shares = shares
        self._attempts = attempts
        self._clock = clock
        self._limits = limits

    async def run(self, reservation: Reservation, headers: Headers, receive: Receive, send: Send) -> None:
        """Answer the caller. Raises JournalFull before anything was sent, and what it cannot tell the caller itself."""
        attempt = self._attempts.begin(reservation)
        try:
            await self._sent(attempt, headers, receive, send)
        except Exception as error:
            if not attempt.has_answer:
                raise
            log.error("answer_broken_off", attempt=str(attempt.id), exc_info=error)
        finally:
            if not attempt.is_over:  # cancelled at the end of grace, or a defect: it was sent, so it may be billed
                self._attempts.end(attempt, self._lost(attempt, "cut"))

    async def _sent(self, attempt: Attempt, headers: Headers, receive: Receive, send: Send) -> None:
        reservation = attempt.reservation
        call, upstream = reservation.call, reservation.upstream
        body = call.sent(
            output_limit=reservation.output_limit,
            limit_field=upstream.limit_field(call.model),
            service_tier=reservation.service_tier,
            search_uses=reservation.search_uses,
            moves_limit=reservation.moves_limit,
        )
        sent = self._transport.send(upstream, _PATHS[call.dialect], body, _forwarded(upstream, headers, attempt))
        passage = Passage(upstream.config, self._limits, receive, self._clock.monotonic)
        try:
            await self._answered(attempt, sent, passage, send)
        finally:
            passage.stop()

    async def _answered(self, attempt: Attempt, sent: Awaitable[Answer], passage: Passage, send: Send) -> None:
        try:
            answer = await (passage.begin(sent) if attempt.reservation.call.is_streamed else sent)
        except UpstreamFailed as error:
            await self._failed(attempt, error, send, is_caller_gone=passage.caller_is_gone)
            return
        try:
            if answer.status >= 300:
                await self._refused(attempt, answer, send)
            elif answer.headers.get("content-type", "").lower().startswith("text/event-stream"):
                await self._stream(attempt, answer, passage, send)
            else:
                await self._whole(attempt, answer, send)
        finally:
            answer.close()

    async def _whole(self, attempt: Attempt, answer: Answer, send: Send) -> None:
        """A JSON answer, read to its end before the caller gets any of it."""
        try:
            body = await answer.read(self._limits.answer_bytes)
        except UpstreamFailed as error:
            await self._failed(attempt, error, send)
            return
        data = _parsed(body)
        report = Report(data.get("usage"), data.get("model"), data.get("service_tier"), data.get("provider"))
        billed_nano = self._attempts.end(
            attempt, self._outcome(attempt, report, answer.status, Seen(tokens_of(len(body))))
        )
        attempt.has_answer = True
        await _send(send, answer.status, self._headers(attempt, answer, billed_nano, len(body)), body)

    async def _stream(self, attempt: Attempt, answer: Answer, passage: Passage, send: Send) -> None:
        call = attempt.reservation.call
        relay = StreamFilter(call.dialect, strips_usage=call.is_streamed and not call.wants_usage)
        attempt.has_answer = True
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": self._headers(attempt, answer, None, None),
            }
        )
        failure: UpstreamFailed | None = None
        try:
            failure = await passage.carry(relay, answer, send)
        finally:
            billed_nano = self._attempts.end(attempt, self._streamed(attempt, relay, passage, answer.status, failure))
        await passage.close(_ending(attempt, billed_nano, failure), send)

    def _streamed(
        self, attempt: Attempt, relay: StreamFilter, passage: Passage, status: int, failure: UpstreamFailed | None
    ) -> Outcome:
        report = Report(relay.usage, relay.model, relay.tier, relay.provider)
        outcome = self._outcome(attempt, report, status, Seen(relay.guessed_output(), relay.is_final))
        if passage.first_byte_at is not None:
            outcome = outcome._replace(ttft_ms=int((passage.first_byte_at - attempt.started) * 1000))
        if passage.caller_is_gone:
            return outcome._replace(name="client_disconnected")
        if failure is not None:
            return outcome._replace(name=_OUTCOMES[failure.stage], error_class=failure.stage.value)
        return outcome

    def _outcome(self, attempt: Attempt, report: Report, status: int, seen: Seen) -> Outcome:
        return outcome_of(attempt.reservation, report, status, seen, believed_tokens=self._limits.believed_tokens)

    async def _refused(self, attempt: Attempt, answer: Answer, send: Send) -> None:
        """The provider said no: nothing was used. Its own words go back, unless they are about our credentials."""
        try:
            body = await answer.read(self._limits.answer_bytes)
        except UpstreamFailed as error:
            body = b""
            log.warning("upstream_error_unread", upstream=attempt.reservation.upstream.name, error=str(error))
        model, status = attempt.reservation.call.model, answer.status
        outcome = Outcome(NOTHING, model, status, "provider_error", f"http_{status}")
        billed_nano = self._attempts.end(attempt, outcome)
        if status == 401 or status < 400:
            log.error("upstream_refuses_us", upstream=attempt.reservation.upstream.name, status=status)
            await self._answer(attempt, UPSTREAM_LOCKED_OUT, send)
            return
        attempt.has_answer = True
        shown = status if status <= STATUS_MAX else 502  # llhttp takes any three digits, our server does not
        await _send(send, shown, self._headers(attempt, answer, billed_nano, len(body)), body)

    async def _failed(
        self, attempt: Attempt, error: UpstreamFailed, send: Send, *, is_caller_gone: bool = False
    ) -> None:
        """No answer: free of charge if it was never sent; a guess, and all of its reserve held, if it may have been."""
        log.warning("upstream_failed", upstream=attempt.reservation.upstream.name, stage=error.stage, error=str(error))
        if error.stage is Stage.NOT_SENT:
            outcome = Outcome(NOTHING, attempt.reservation.call.model, 0, "unreachable", error.stage.value)
        else:
            name: OutcomeName = "client_disconnected" if is_caller_gone else _OUTCOMES[error.stage]
            outcome = self._lost(attempt, error.stage.value)._replace(name=name)
        self._attempts.end(attempt, outcome)
        await self._answer(attempt, upstream_failed(error.stage), send)

    def _lost(self, attempt: Attempt, error_class: str) -> Outcome:
        reservation = attempt.reservation
        return Outcome(reservation.estimate.guess.usage, reservation.call.model, 0, "provider_error", error_class)

    async def _answer(self, attempt: Attempt, refusal: Refusal, send: Send) -> None:
        headers = [(b"x-farebox-request-id", str(attempt.request_id).encode())]
        attempt.has_answer = True
        await answer_refusal(refusal, attempt.reservation.call.dialect, send, headers)

    def _headers(self, attempt: Attempt, answer: Answer, billed_nano: int | None, length: int | None) -> RawHeaders:
        theirs = answer.headers
        headers = [
            (name.encode(), theirs[name].encode(errors="surrogateescape")) for name in _PASSED_BACK if name in theirs
        ]
        headers.append((b"x-farebox-request-id", str(attempt.request_id).encode()))
        if length is None:
            headers.append((b"cache-control", b"no-cache"))
        else:
            headers.append((b"content-length", b"%d" % length))
        limit = attempt.reservation.output_limit
        if limit is not None and limit != attempt.reservation.call.output_limit:
            headers.append((b"x-farebox-max-tokens", b"%d" % limit))
        if attempt.reservation.search_uses is not None:
            headers.append((b"x-farebox-max-uses", b"%d" % attempt.reservation.search_uses))
        key_policy = attempt.reservation.key_policy
        if billed_nano is not None:
            headers.append((b"x-farebox-cost", decimal_text(billed_nano).encode()))
            headers.append((b"x-farebox-currency", key_policy.settings.currency.encode()))
        remaining = _remaining(attempt.reservation, self._shares)
        if remaining is not None:
            headers.append((b"x-farebox-balance-remaining", decimal_text(remaining).encode()))
        return headers


def _remaining(reservation: Reservation, shares: Shares) -> int | None:
    """Of the tightest money budget: what the budget service said last, and what is still in hand of it."""
    lefts = [
        budget.left + shares.in_hand(budget.window.key) if budget.is_hard else budget.left
        for budget in reservation.key_policy.budgets
        if budget.is_shown
    ]
    return max(0, min(lefts)) if lefts else None


def _ending(attempt: Attempt, billed_nano: int | None, failure: UpstreamFailed | None) -> bytes:
    """After the provider's last event: the cost as a comment, or the failure as an event that SDKs raise."""
    call = attempt.reservation.call
    if failure is not None:
        body = upstream_failed(failure.stage).body(call.dialect)
        event = b"event: error\n" if call.dialect == "anthropic" else b""
        return b"\n\n" + event + b"data: " + body + b"\n\n"
    if billed_nano is None:
        return b""
    currency = attempt.reservation.key_policy.settings.currency
    return f": x-farebox-cost {decimal_text(billed_nano)} {currency}\n\n".encode()


def _forwarded(upstream: Upstream, headers: Headers, attempt: Attempt) -> dict[str, str]:
    """What goes to the provider of the caller's headers: those its configuration lists."""
    passed_on = {name: headers[raw].decode("latin-1") for name, raw in upstream.forwarded if raw in headers}
    if upstream.config.send_attempt_id:
        passed_on["x-farebox-attempt"] = str(attempt.id)
    if upstream.dialect == "anthropic" and "anthropic-version" not in passed_on:
        passed_on["anthropic-version"] = headers.get(b"anthropic-version", b"2023-06-01").decode("latin-1")
    return passed_on


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}


async def answer_refusal(refusal: Refusal, dialect: Any, send: Send, headers: RawHeaders) -> None:
    """An error in the caller's dialect."""
    body = refusal.body(dialect)
    own = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    fixed = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await _send(send, refusal.status, [*fixed, *own, *headers], body)


async def _send(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
