"""Something to look at: a demo org with team, user, key, budgets and channels, and a little traffic.

Everything is made through the gateway's public API. What is there from an earlier run is left as it is.
"""

from collections.abc import Callable
from typing import Any

import httpx

from farebox_local.errors import StackError
from farebox_local.services import Surroundings

ORG, TEAM, USER = "demo", "demo-team", "demo-user"
# Of a provider that is never real here: with OPENAI_API_KEY set, demo traffic still costs nothing.
MODEL = "gemini-2.0-flash"
CALLS = 20
_HOOK = "demo"
_TIMEOUT_S = 30.0
_ACCOUNTS: tuple[dict[str, str], ...] = (
    {"id": ORG, "kind": "org", "parent": "platform", "name": "Demo", "currency": "USD", "language": "en"},
    {"id": TEAM, "kind": "team", "parent": ORG, "name": "Demo team"},
    {"id": USER, "kind": "user", "parent": TEAM, "name": "Demo user"},
)
# The hard budget leaves room to try things out; the soft one is so small that the demo traffic sets off its alerts.
_BUDGETS: tuple[dict[str, Any], ...] = (
    {
        "account": TEAM,
        "name": "Team, a month",
        "window": {"kind": "month"},
        "limit": "10",
        "mode": "hard",
        "thresholds": [
            {"severity": "warning", "percent": "75"},
            {"severity": "critical", "percent": "90"},
            {"severity": "emergency", "percent": "95"},
        ],
    },
    {
        "account": USER,
        "name": "User, a day",
        "window": {"kind": "day"},
        "limit": "0.004",
        "mode": "soft",
        "thresholds": [{"severity": "info", "percent": "50"}, {"severity": "warning", "percent": "80"}],
    },
)


def seed(around: Surroundings) -> str:
    """Make what is missing of the demo; returns the demo user's API key.

    Raises StackError with the service's answer when something is refused.
    """
    token = around.secrets.of("admin_token")
    with httpx.Client(
        base_url=around.url("gateway"),
        headers={"authorization": f"Bearer {token}"},
        timeout=_TIMEOUT_S,
        trust_env=False,
    ) as admin:
        for account in _ACCOUNTS:
            if admin.get(f"/api/accounts/{account['id']}").status_code == 404:
                _answer(admin.post("/api/accounts", json=account))
        for budget in _BUDGETS:
            if not _any(admin, "budgets", budget["account"], name=budget["name"]):
                _answer(admin.post("/api/budgets", json=budget))
        _seed_channels(around, admin)
        return _seed_key(around, admin)


def _seed_channels(around: Surroundings, admin: httpx.Client) -> None:
    if not _any(admin, "channels", ORG, kind="email"):
        mail = {"account": ORG, "kind": "email", "recipients": ["alerts@demo.example"]}
        _answer(admin.post("/api/channels", json=mail))
    url = f"{around.url('webhooks')}/hooks/{_HOOK}"
    if not _any(admin, "channels", ORG, url=url):
        channel = _answer(admin.post("/api/channels", json={"account": ORG, "kind": "webhook", "url": url}))
        httpx.put(url, json={"secret": channel["secret"]}, trust_env=False).raise_for_status()


def _seed_key(around: Surroundings, admin: httpx.Client) -> str:
    key = around.secrets.known("demo_api_key")
    if key is not None and _opens(around.url("gateway"), key):
        return key
    issued = _answer(admin.post("/api/keys", json={"account": USER, "name": "Demo"}))
    return around.secrets.keep("demo_api_key", str(issued["api_key"]))


def _opens(gateway_url: str, key: str) -> bool:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{gateway_url}/v1/models", headers=headers, timeout=_TIMEOUT_S, trust_env=False).is_success


def _any(admin: httpx.Client, what: str, account: str, **like: str) -> bool:
    items = _answer(admin.get(f"/api/{what}", params={"account": account}))["items"]
    return any(like.items() <= item.items() for item in items)


def _answer(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        request = response.request
        raise StackError(f"demo: {request.method} {request.url.path}: {response.status_code} {response.text}")
    body: dict[str, Any] = response.json()
    return body


def traffic(gateway_url: str, api_key: str, progress: Callable[[int], None]) -> None:
    """A few calls, every other one streamed; `progress` hears of each that is done.

    Raises StackError for one that is refused.
    """
    orders = {"demo_prompt_tokens": "500", "demo_completion_tokens": "300"}
    ask = {"model": MODEL, "max_tokens": 300, "metadata": orders}
    ask["messages"] = [{"role": "user", "content": "What does this call cost? " * 100}]
    headers = {"authorization": f"Bearer {api_key}"}
    with httpx.Client(base_url=gateway_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False) as caller:
        for number in range(CALLS):
            answer = caller.post("/v1/chat/completions", json={**ask, "stream": number % 2 == 1})
            if not answer.is_success:
                raise StackError(f"demo: a call was refused: {answer.status_code} {answer.text}")
            progress(number + 1)
