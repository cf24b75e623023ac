"""Bad input at the door: an OpenAI-shaped error with the right status, nothing sent, nothing charged."""

from typing import Any

import httpx
import pytest

from support.farebox import TIMEOUT_S, Farebox

GOOD: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (400, {"content": b"{not json"}),
        (400, {"content": b"[]"}),
        (400, {"json": {"model": "gpt-4o-mini"}}),
        (400, {"json": GOOD | {"max_tokens": -1}}),
        (400, {"json": GOOD | {"max_tokens": 10**18}}),
        (400, {"json": GOOD | {"max_tokens": "many"}}),
        (400, {"json": GOOD | {"n": 0}}),
        (404, {"json": GOOD | {"model": "no-such-model"}}),
        (401, {"headers": {"authorization": "Bearer fbx_unknown"}}),
        (401, {"headers": {"authorization": ""}}),
        (415, {"headers": {"content-type": "text/plain"}}),
        (413, {"content": b'{"model": "' + b"x" * (64 << 20) + b'"}'}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_request_that_makes_no_sense_is_refused_in_openais_own_shape(
    farebox: Farebox, status: int, change: dict[str, Any]
) -> None:
    tenant = farebox.tenant()
    billed = len(farebox.provider.bill())
    headers = {"authorization": f"Bearer {tenant.api_key}", "content-type": "application/json"}
    request = ({"json": GOOD} if "content" not in change else {}) | change
    request["headers"] = headers | change.get("headers", {})
    async with httpx.AsyncClient(base_url=farebox.gateway_url, timeout=TIMEOUT_S, trust_env=False) as client:
        answer = await client.post("/v1/chat/completions", **request)
    assert answer.status_code == status, answer.text
    assert {"message", "type", "code"} <= answer.json()["error"].keys()
    assert "Traceback" not in answer.text
    assert len(farebox.provider.bill()) == billed
    assert farebox.summary(tenant.org).get("requests", 0) == 0


async def test_api_needs_a_token_and_never_reaches_the_lease_api(farebox: Farebox) -> None:
    async with httpx.AsyncClient(base_url=farebox.gateway_url, trust_env=False) as client:
        assert (await client.get("/api/accounts")).status_code == 401
        assert (await client.get("/api/accounts", headers={"authorization": "Bearer wrong"})).status_code == 401
    assert farebox.admin.post("/internal/v1/grants", json={}).status_code == 404
    assert farebox.admin.post("/api/../internal/v1/grants", json={}).status_code == 404


async def test_a_key_sees_its_own_balance_and_nobody_elses(farebox: Farebox) -> None:
    mine, other = farebox.tenant(), farebox.tenant()
    headers = {"authorization": f"Bearer {mine.api_key}"}
    async with httpx.AsyncClient(base_url=farebox.gateway_url, headers=headers, trust_env=False) as client:
        assert (await client.get("/api/balances")).status_code == 200
        assert (await client.get("/api/balances", params={"account": other.user})).status_code == 403
        assert (await client.post("/api/keys", json={"account": mine.user, "name": "x"})).status_code == 403
