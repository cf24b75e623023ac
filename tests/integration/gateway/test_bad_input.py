"""Whatever is sent: an error the SDK understands, nothing charged, no trace of our code."""

import socket
from typing import Any

import httpx
import orjson
import pytest

from support.fake_budget import FakeAccount
from support.gateway import GatewayProcess, chat
from support.provider import DemoProvider

JSON = {"content-type": "application/json"}
BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "invalid_request"),
        (b"", JSON, 400, "invalid_request"),
        (b"\xff\xfe", JSON, 400, "invalid_request"),
        (b"[" * 5000, JSON, 400, "invalid_request"),
        (BODY[:-1] + b', "max_tokens": -1}', JSON, 400, "invalid_request"),
        (BODY[:-1] + b', "max_tokens": 99999999999999999999}', JSON, 400, "invalid_request"),
        (BODY.replace(b"gpt-4o", b"no-such-model"), JSON, 404, "model_not_found"),
        (BODY.replace(b"gpt-4o", b"unpriced-model"), JSON, 403, "model_not_priced"),
        (BODY, {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (BODY + b" " * 70_000, JSON, 413, "body_too_large"),
    ],
)
async def test_a_bad_call_is_refused(
    gateway: GatewayProcess,
    api_key: str,
    account: FakeAccount,
    provider: DemoProvider,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    async with gateway.client(api_key) as client:
        answer = await client.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == code
    assert "Traceback" not in answer.text
    assert provider.bill() == []
    assert account.held == 0


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, **fields}


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        (BODY[:-1] + b', "max_tokens": 1, "max_tokens": 100000}', "invalid_request", "max_tokens"),
        (BODY[:-1] + b', "max_tokens": 1, "max\\u005ftokens": 100000}', "invalid_request", "max_tokens"),
        (BODY[:-1] + b', "max_tokens": 1, "MAX_TOKENS": 100000}', "invalid_request", "MAX_TOKENS"),
        (BODY[:-1] + b', "Model": "gpt-4.5"}', "invalid_request", "Model"),
        (BODY[:-1] + b', "N": 100}', "invalid_request", "N"),
        (BODY[:-1] + b', "seed": 123456789012345678901234}', "invalid_request", "seed"),
        (BODY[:-1] + b', "temperature": 1e400}', "invalid_request", "temperature"),
        (BODY[:-1] + b', "user": "\\ud83d"}', "invalid_request", "user"),
        (BODY[:-1] + b', "service_tier": "flex\\u0000"}', "invalid_request", "service_tier"),
        (orjson.dumps(body(models=["gpt-4.5"])), "field_not_bounded", "models"),
        (orjson.dumps(body(plugins=[{"id": "web"}])), "field_not_bounded", "plugins"),
        (
            orjson.dumps(
                body(messages=[{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}])
            ),
            "field_not_bounded",
            "messages[0].content[0]:input_file",
        ),
        (orjson.dumps(body(tools=[{"type": "web_search"}])), "field_not_bounded", "tools[0]:web_search"),
    ],
)
async def test_what_could_cost_more_than_is_held_is_refused_with_its_field(
    gateway: GatewayProcess,
    api_key: str,
    account: FakeAccount,
    provider: DemoProvider,
    raw: bytes,
    code: str,
    param: str,
) -> None:
    async with gateway.client(api_key) as client:
        answer = await client.post("/v1/chat/completions", content=raw, headers=JSON)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert answer.headers["x-should-retry"] == "false"
    assert provider.bill() == []


@pytest.mark.parametrize("shown", [{}, {"authorization": "Bearer"}, {"authorization": "Basic abc"}])
async def test_a_call_without_a_key_is_401(gateway: GatewayProcess, shown: dict[str, str]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{gateway.url}/v1/chat/completions", content=BODY, headers={**JSON, **shown})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "missing_api_key"


@pytest.mark.parametrize("body", [{}, {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}])
async def test_an_unknown_key_learns_nothing_else(gateway: GatewayProcess, body: dict[str, Any]) -> None:
    async with gateway.client("fbx_unknown") as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_a_body_that_does_not_say_how_long_it_is_is_cut_off(
    gateway: GatewayProcess, api_key: str, account: FakeAccount
) -> None:

    async def endless() -> Any:
        for _ in range(200):
            yield b" " * 1024

    async with gateway.client(api_key) as client:
        answer = await client.post("/v1/chat/completions", content=endless(), headers=JSON)
    assert answer.status_code == 413


async def test_a_caller_who_hangs_up_while_asking_is_charged_nothing(
    gateway: GatewayProcess, api_key: str, provider: DemoProvider, account: FakeAccount
) -> None:
    url = httpx.URL(gateway.url)
    with socket.create_connection((url.host, url.port or 0)) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {api_key}\r\n"
        connection.sendall(f"{head}content-type: application/json\r\ncontent-length: 500\r\n\r\n{{".encode())
    assert (await chat(gateway, api_key)).status_code == 200
    assert len(provider.bill()) == 1


async def test_other_methods_are_405(gateway: GatewayProcess, api_key: str) -> None:
    async with gateway.client(api_key) as client:
        assert (await client.get("/v1/chat/completions")).status_code == 405


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages/count_tokens", "/chat/completions", "/v1/v1/messages"])
async def test_a_path_that_is_none_is_told_as_an_error_that_names_those_that_are(
    gateway: GatewayProcess, path: str
) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        answer = await http.post(path, json={})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "endpoint_not_found"
    assert "`/v1/chat/completions`" in answer.json()["error"]["message"]
