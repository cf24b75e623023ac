"""The bare relay that the gateway is measured beside: ASGI in, aiohttp out, nothing looked at.

python bench/passthrough.py --port 9002 --provider http://127.0.0.1:9001
"""

import argparse

import aiohttp
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from yarl import URL


class Passthrough:
    """The request's body to the provider, the answer's chunks back."""

    def __init__(self, session: aiohttp.ClientSession, provider: str) -> None:
        self._session = session
        self._url = URL(f"{provider}/v1/chat/completions")
        self._headers = {"content-type": "application/json", "authorization": "Bearer sk-x"}

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        async with self._session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as answer:
            kind = answer.headers["content-type"].encode()
            if kind == b"application/json":
                whole = await answer.read()
                headers = [(b"content-type", kind), (b"content-length", b"%d" % len(whole))]
                await send({"type": "http.response.start", "status": answer.status, "headers": headers})
                await send({"type": "http.response.body", "body": whole})
                return
            await send({"type": "http.response.start", "status": answer.status, "headers": [(b"content-type", kind)]})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def serve(port: int, provider: str) -> None:
    connector = aiohttp.TCPConnector(limit=1000)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        config = uvicorn.Config(
            Passthrough(session, provider),
            port=port,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        await uvicorn.Server(config).serve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--provider", required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.provider))


if __name__ == "__main__":
    main()
