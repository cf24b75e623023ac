"""A mail relay and a webhook endpoint inside the test, that answer as they are told."""

import asyncio
import email
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from typing import Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LOOPBACK = "127.0.0.1"


@dataclass
class Inbox:
    """What the relay took. `refusals` are answers it gives to RCPT of an address, or to DATA (`"data"`), one a time."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refusals: dict[str, deque[str]] = field(default_factory=dict)

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:  # noqa: N802 - aiosmtpd's
        if answers := self.refusals.get(address):
            return answers.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if answers := self.refusals.get("data"):
            return answers.popleft()
        self.mails.append(email.message_from_bytes(envelope.original_content or b"", policy=policy.default))
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        return "250 taken"


@asynccontextmanager
async def mail_relay(tls: ssl.SSLContext | None = None) -> AsyncIterator[Inbox]:
    """A relay on loopback; with `tls` it insists on STARTTLS."""
    inbox = Inbox()
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        return SMTP(inbox, hostname="relay", tls_context=tls, require_starttls=tls is not None, loop=loop)

    server = await loop.create_server(session, LOOPBACK, 0)
    inbox.port = server.sockets[0].getsockname()[1]
    async with server:
        yield inbox


@dataclass
class Hook:
    """What came to the endpoint. `answers` are given one a time, then `then`; a hanging one waits for `release`."""

    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answers: deque[Response | int] = field(default_factory=deque)
    then: int = 204
    hanging: bool = False
    release: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    at_once_max: int = 0

    async def receive(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            if self.hanging:
                await self.release.wait()
        finally:
            self.at_once -= 1
        answer = self.answers.popleft() if self.answers else self.then
        return answer if isinstance(answer, Response) else Response(status_code=answer)

    def ids(self) -> list[str]:
        """The message id of everything that came."""
        return [headers["webhook-id"] for headers in self.headers]


@asynccontextmanager
async def webhook_endpoint(tls: ssl.SSLContext | None = None) -> AsyncIterator[Hook]:
    """An endpoint on loopback."""
    hook = Hook()
    app = Starlette(routes=[Route("/hook", hook.receive, methods=["POST"])])
    async with _served(app, tls) as port:
        hook.url = f"http://{LOOPBACK}:{port}/hook"
        yield hook
        hook.release.set()


@asynccontextmanager
async def _served(app: Any, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    with _listening() as listener:
        config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        config.load()
        config.ssl = tls
        server = uvicorn.Server(config)
        server.capture_signals = _no_signals  # type: ignore[method-assign]  # the test runner keeps its own
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener


@contextmanager
def _no_signals() -> Iterator[None]:
    yield
