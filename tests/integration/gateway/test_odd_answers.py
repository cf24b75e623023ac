"""Answers that no SDK was made for, over the wire: every one is passed on, charged, and told of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from farebox.events import RequestCompleted
from farebox.pricing import UsageSource
from support.gateway import chat, published

TOKENS = {"prompt_tokens": 40, "completion_tokens": 20}


class OddProvider:
    """Answers whatever it is told to, byte for byte."""

    url: str
    answer: bytes

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    def says(self, status: int = 200, **body: object) -> None:
        json = orjson.dumps({"model": "gpt-4o", "choices": [], **body})
        head = f"HTTP/1.1 {status} Odd\r\ncontent-type: application/json\r\ncontent-length: {len(json)}\r\n\r\n"
        self.answer = head.encode() + json

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                writer.write(self.answer)
        writer.close()


@pytest.fixture
async def odd() -> AsyncIterator[OddProvider]:
    provider = OddProvider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield provider
    server.close()
    for writer in provider.writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


ANSWERS: list[dict[str, Any]] = [
    {"usage": TOKENS},
    {"usage": TOKENS, "service_tier": "flex\u0000"},
    {"usage": TOKENS | {"completion_tokens": 10**11}},
    {"usage": {"prompt_tokens": 40}},
    {"usage": TOKENS, "model": "gpt-4o-mini"},
    {"usage": TOKENS, "model": "gpt-99"},
    {"usage": TOKENS | {"server_tool_use": {f"tool_{n}_requests": 1 for n in range(20_000)}}},
]


async def test_every_answer_is_passed_on_and_charged(
    start_gateway: Any, odd: OddProvider, api_key: str, user: str, kafka: str
) -> None:
    gateway = start_gateway(provider_url=odd.url)
    for answer in ANSWERS:
        odd.says(**answer)
        passed = await chat(gateway, api_key, max_tokens=50)
        assert passed.json()["usage"] == answer["usage"]
    plain, tier, absurd, silent, cheaper, unknown, tools = await published(kafka, len(ANSWERS), user=user)
    assert (tier.usage.service_tier, tier.usage.unknown) == (None, {"service_tier": 1})
    for doubted in (absurd, silent):
        assert (doubted.usage.source, doubted.reported is not None) == (UsageSource.ESTIMATED, True)
        assert uncertain(doubted) > 0
    assert cheaper.priced_as is not None
    assert unknown.priced_as is not None
    assert (cheaper.priced_as.why, unknown.priced_as.why) == ("cheaper_model", "unknown_model")
    assert len(tools.usage.tool_calls) == 16
    assert {charge(each) for each in (plain, tier, cheaper, unknown, tools)} == {charge(plain)}


def charge(event: RequestCompleted) -> int:
    assert event.held
    return event.held.settled.money - event.held.uncertain.money


def uncertain(event: RequestCompleted) -> int:
    assert event.held
    return event.held.uncertain.money


async def test_a_status_that_http_does_not_have_is_a_bad_gateway_and_costs_nothing(
    start_gateway: Any, odd: OddProvider, api_key: str, user: str, kafka: str
) -> None:
    gateway = start_gateway(provider_url=odd.url)
    odd.says(600, error={"message": "odd"})
    assert (await chat(gateway, api_key)).status_code == 502
    [event] = await published(kafka, 1, user=user)
    assert (event.status, event.error_class, event.usage.requests) == (0, "http_600", 0)


async def test_a_header_that_is_no_text_and_a_type_in_capitals_do_not_hide_the_bill(
    start_gateway: Any, odd: OddProvider, api_key: str, user: str, kafka: str
) -> None:
    gateway = start_gateway(provider_url=odd.url)
    odd.says(usage=TOKENS)
    odd.answer = odd.answer.replace(b"content-type", b"x-request-id: caf\xe9\r\ncontent-type", 1)
    assert (await chat(gateway, api_key, max_tokens=50)).json()["usage"] == TOKENS
    stream = b"data: " + orjson.dumps({"model": "gpt-4o", "choices": [], "usage": TOKENS}) + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream\r\ncontent-length: %d\r\n\r\n" % len(stream)
    odd.answer = head + stream
    assert (await chat(gateway, api_key, max_tokens=50, stream=True)).status_code == 200
    events = await published(kafka, 2, user=user)
    assert [(event.usage.source, event.usage.total) for event in events] == [(UsageSource.REPORTED, 60)] * 2
