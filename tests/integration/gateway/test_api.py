"""`/api/*` reaches the services with the caller's role, and nothing else does."""

from typing import Any

import pytest

from support.fake_budget import FakeAccount
from support.gateway import ADMIN_TOKEN, GatewayProcess


async def get(gateway: GatewayProcess, key: str, path: str, **more: Any) -> Any:
    async with gateway.client(key) as client:
        return await client.request(more.pop("method", "GET"), path, **more)


async def test_the_admin_token_makes_a_platform_admin(gateway: GatewayProcess) -> None:
    answer = await get(gateway, ADMIN_TOKEN, "/api/budgets/7?x=1&y=%20", method="POST", json={"limit": "5"})
    assert answer.json() == {
        "method": "POST",
        "path": "/api/budgets/7",
        "query": "x=1&y=%20",
        "body": '{"limit":"5"}',
        "role": "platform-admin",
        "account": None,
    }


async def test_an_api_key_makes_a_viewer_of_its_user(
    gateway: GatewayProcess, api_key: str, user: str, account: FakeAccount
) -> None:
    answer = await get(gateway, api_key, "/api/balances")
    assert (answer.json()["role"], answer.json()["account"]) == ("viewer", user)


@pytest.mark.parametrize("key", ["-", "fbx_unknown", ADMIN_TOKEN + "x"])
async def test_others_are_401(gateway: GatewayProcess, key: str) -> None:
    assert (await get(gateway, key, "/api/balances")).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/api/internal/v2/raises",
        "/internal/v2/raises",
        "/api/../internal/v2/raises",
        "/api/balances/../../internal/v2/starts",
        "/api/nothing",
        "/api/balances//x",
    ],
)
async def test_nothing_but_the_listed_paths_is_forwarded(gateway: GatewayProcess, path: str) -> None:
    assert (await get(gateway, ADMIN_TOKEN, path)).status_code == 404
