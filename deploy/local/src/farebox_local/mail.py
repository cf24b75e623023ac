"""The mail sink: takes every mail by SMTP, keeps it as a file, shows it by HTTP.

`GET /` is a page; `GET|DELETE /messages`, `GET /messages/{n}/html`; `PUT /refusal` `{"status": 451, "times": 2}`.

`python -m farebox_local.mail --port 9000 --smtp-port 9025 --folder mail`
"""

import argparse
import asyncio
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from farebox_local.ports import LOOPBACK
from farebox_local.refusals import Refusal

_SIZE_MAX_BYTES = 10 * 1024 * 1024
# A mail is shown as a mail program would: its own styles, no scripts, nothing fetched.
_AS_IN_A_MAILBOX = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
_PAGE = """<!doctype html><meta charset="utf-8"><title>Mail</title>
<style>body{{font:15px system-ui;margin:2rem auto;max-width:60rem}}
td,th{{text-align:left;padding:.3rem 1rem .3rem 0}}</style>
<h1>Mail</h1><p>{count} received. Newest first; kept in <code>{folder}</code>.</p>
<table><tr><th>#</th><th>to</th><th>subject</th><th>date</th></tr>{rows}</table>"""
_ROW = '<tr><td>{n}</td><td>{to}</td><td><a href="/messages/{n}/html">{subject}</a></td><td>{date}</td></tr>'


class Mailbox:
    """The mails of one folder, `000001.eml` and so on, in the order they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._last = max((int(path.stem) for path in folder.glob("*.eml")), default=0)

    def keep(self, content: bytes) -> None:
        """Store a mail; it is whole on disk when this returns."""
        self._last += 1
        incomplete = self.folder / "incomplete"
        incomplete.write_bytes(content)
        incomplete.rename(self._path(self._last))

    def all(self) -> list[tuple[int, EmailMessage]]:
        """Every mail with its number, oldest first."""
        return [(int(path.stem), _parsed(path)) for path in sorted(self.folder.glob("*.eml"))]

    def get(self, number: int) -> EmailMessage | None:
        path = self._path(number)
        return _parsed(path) if path.exists() else None

    def clear(self) -> None:
        """Forget every mail; numbers are not given again."""
        for path in self.folder.glob("*.eml"):
            path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.eml"


def _parsed(path: Path) -> EmailMessage:
    return message_from_bytes(path.read_bytes(), policy=policy.default)


def _content(mail: EmailMessage, kind: str) -> str | None:
    part = mail.get_body(preferencelist=(kind,))
    return None if part is None else str(part.get_content()).replace("\r\n", "\n")  # CRLF is SMTP's


def _described(number: int, mail: EmailMessage) -> dict[str, Any]:
    return {
        "n": number,
        "from": str(mail["From"]),
        "to": [address.addr_spec for address in mail["To"].addresses] if mail["To"] else [],
        "subject": str(mail["Subject"] or ""),
        "headers": {name.lower(): str(value) for name, value in mail.items()},
        "text": _content(mail, "plain"),
        "html": _content(mail, "html"),
    }


class MailSink:
    """Both sides of the sink: `handle_DATA` is aiosmtpd's, the others are HTTP endpoints."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._refusal: Refusal | None = None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802 - aiosmtpd's
        if self._refusal and (status := self._refusal.take()):
            return f"{status} refused by order"
        self._mailbox.keep(envelope.original_content or b"")
        return "250 kept"

    async def page(self, _: Request) -> Response:
        mails = self._mailbox.all()
        rows = "".join(
            _ROW.format(
                n=n, to=escape(str(mail["To"])), subject=escape(str(mail["Subject"])), date=escape(str(mail["Date"]))
            )
            for n, mail in reversed(mails)
        )
        return HTMLResponse(_PAGE.format(count=len(mails), folder=escape(str(self._mailbox.folder)), rows=rows))

    async def messages(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._mailbox.clear()
        return JSONResponse({"items": [_described(n, mail) for n, mail in self._mailbox.all()]})

    async def html(self, request: Request) -> Response:
        mail = self._mailbox.get(request.path_params["n"])
        if mail is None:
            return JSONResponse({"error": "no such mail"}, status_code=404)
        text = escape(_content(mail, "plain") or "")
        return HTMLResponse(
            _content(mail, "html") or f"<pre>{text}</pre>", headers={"content-security-policy": _AS_IN_A_MAILBOX}
        )

    async def refuse(self, request: Request) -> Response:
        try:
            self._refusal = Refusal.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(self._refusal.model_dump())

    def app(self) -> Starlette:
        """The HTTP side."""
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/messages", self.messages, methods=["GET", "DELETE"]),
                Route("/messages/{n:int}/html", self.html),
                Route("/refusal", self.refuse, methods=["PUT"]),
                Route("/healthz", lambda _: JSONResponse({"status": "ok"})),
            ]
        )


async def serve(*, port: int, smtp_port: int, folder: Path) -> None:
    """Take mail and show it until SIGTERM."""
    sink = MailSink(Mailbox(folder))
    smtp = await asyncio.get_running_loop().create_server(
        lambda: SMTP(sink, data_size_limit=_SIZE_MAX_BYTES, enable_SMTPUTF8=True, hostname="localhost"),
        LOOPBACK,
        smtp_port,
    )
    async with smtp:
        config = uvicorn.Config(sink.app(), host=LOOPBACK, port=port, log_level="warning", lifespan="off")
        await uvicorn.Server(config).serve()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox_local.mail")
    parser.add_argument("--port", type=int, required=True, help="of the page and the JSON")
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the mails are kept")
    arguments = parser.parse_args()
    asyncio.run(serve(port=arguments.port, smtp_port=arguments.smtp_port, folder=arguments.folder))


if __name__ == "__main__":
    main()
