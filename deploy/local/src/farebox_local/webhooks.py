"""The webhook sink: takes webhooks, checks their signatures, keeps what it got.

`POST /hooks/{name}` is where webhooks go. `PUT /hooks/{name}` registers `{"secret": "whsec_…"}` and orders refusals
(`{"refusal": {"status": 500, "times": 2}}`), either or both; `GET /hooks/{name}` lists what came, `GET /` all of it.
Signatures are checked with the `standardwebhooks` package (https://www.standardwebhooks.com), which shares no code with
the notifier.

`python -m farebox_local.webhooks --port 9000 --folder webhooks`
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from farebox.clock import Clock, SystemClock
from farebox_local.ports import LOOPBACK
from farebox_local.refusals import Refusal

_KEPT_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "user-agent")


class HookOrder(BaseModel):
    """What `PUT /hooks/{name}` says; what it leaves out stays as it was."""

    model_config = ConfigDict(extra="forbid")

    secret: Annotated[str, Field(pattern="^whsec_.+")] | None = None
    refusal: Refusal | None = None


class HookLog:
    """What came, one JSON line each, and the secrets; both outlive the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._received = folder / "received.jsonl"
        self._received.touch()
        self._secrets = folder / "secrets.json"

    def add(self, row: Mapping[str, Any]) -> None:
        with self._received.open("ab") as file:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def of(self, name: str | None) -> list[dict[str, Any]]:
        """Everything that came under a name, or under any; oldest first."""
        with self._received.open("rb") as file:
            return [row for row in map(orjson.loads, file) if name in (None, row["hook"])]

    def secret(self, name: str) -> str | None:
        return self._known().get(name)

    def remember(self, name: str, secret: str) -> None:
        known = orjson.dumps({**self._known(), name: secret})
        self._secrets.touch(mode=0o600)
        self._secrets.write_bytes(known)

    def _known(self) -> dict[str, str]:
        known: dict[str, str] = orjson.loads(self._secrets.read_bytes()) if self._secrets.exists() else {}
        return known


def signed(secret: str | None, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether the secret signed this body, by the Standard Webhooks rules."""
    if secret is None:
        return False
    try:
        Webhook(secret).verify(body, dict(headers))
    except (WebhookVerificationError, ValueError):  # ValueError: signed, but no JSON
        return False
    return True


class WebhookSink:
    """The endpoints. A wrong signature is kept and answered 401; without a secret nothing can be wrong."""

    def __init__(self, log: HookLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._refusals: dict[str, Refusal] = {}

    async def hook(self, request: Request) -> Response:
        name = request.path_params["name"]
        if request.method == "PUT":
            return await self._order(name, await request.body())
        if request.method == "POST":
            return self._take(name, request.headers, await request.body())
        return JSONResponse({"items": self._log.of(name)})

    async def every_hook(self, _: Request) -> Response:
        return JSONResponse({"items": self._log.of(None)})

    async def _order(self, name: str, body: bytes) -> Response:
        try:
            order = HookOrder.model_validate_json(body)
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if order.secret is not None:
            self._log.remember(name, order.secret)
        if order.refusal is not None:
            self._refusals[name] = order.refusal
        return Response(status_code=204)

    def _take(self, name: str, headers: Mapping[str, str], body: bytes) -> Response:
        secret = self._log.secret(name)
        verified = signed(secret, body, headers)
        refusal = self._refusals.get(name)
        status = (refusal.take() if refusal else None) or (401 if secret and not verified else 204)
        self._log.add(
            {
                "hook": name,
                "at": self._clock.now().isoformat(),
                "verified": verified,
                "status": status,
                "headers": {key: headers[key] for key in _KEPT_HEADERS if key in headers},
                "body": _json_or_text(body),
            }
        )
        return Response(status_code=status)

    def app(self) -> Starlette:
        """The sink as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.every_hook),
                Route("/hooks/{name}", self.hook, methods=["GET", "POST", "PUT"]),
                Route("/healthz", lambda _: JSONResponse({"status": "ok"})),
            ]
        )


def _json_or_text(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox_local.webhooks")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where what came is kept")
    arguments = parser.parse_args()
    sink = WebhookSink(HookLog(arguments.folder), SystemClock())
    uvicorn.run(sink.app(), host=LOOPBACK, port=arguments.port, log_level="warning", lifespan="off", access_log=False)


if __name__ == "__main__":
    main()
