"""A running Farebox as its users see it: an administrator over `/api`, a caller through the official OpenAI SDK."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import openai

from farebox.pricing import Catalogue, Charge, Usage
from farebox_local.stack import Stack
from support.provider import DemoProvider
from support.sinks import MailSink, WebhookSink

TIMEOUT_S = 30.0
CATALOGUE = Catalogue()


@dataclass(frozen=True, slots=True)
class Tenant:
    """An org of a test's own, with one user and a key. `org` is unique, so tests share one stack."""

    org: str
    user: str
    key_id: str
    api_key: str


class Farebox:
    """A stack under test."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.gateway_url = stack.around.url("gateway")
        self.admin = httpx.Client(
            base_url=self.gateway_url,
            headers={"authorization": f"Bearer {stack.around.secrets.of('admin_token')}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )
        self.provider = DemoProvider(stack.around.url("provider"))
        self.mail = MailSink(stack.around.url("mail"), stack.around.port("smtp"))
        self.webhooks = WebhookSink(stack.around.url("webhooks"))
        self._callers: list[openai.AsyncOpenAI] = []

    async def close(self) -> None:
        """Close every connection that was made here."""
        self.admin.close()
        for caller in self._callers:
            await caller.close()

    # What an administrator does

    def tenant(self, currency: str = "USD", fx_rate: str = "1", **settings: Any) -> Tenant:
        """platform → org → user → key."""
        name = f"org-{uuid.uuid4().hex[:10]}"
        user = f"{name}-user"
        org = {"id": name, "kind": "org", "parent": "platform", "name": name, "currency": currency, "fx_rate": fx_rate}
        self.made("accounts", **(org | settings))
        self.made("accounts", id=user, kind="user", parent=name, name=user)
        key = self.made("keys", account=user, name="test")
        return Tenant(name, user, key["key_id"], key["api_key"])

    def budget(self, account: str, limit: str, **fields: Any) -> dict[str, Any]:
        body = {"account": account, "name": f"{account} {uuid.uuid4().hex[:6]}", "limit": limit}
        return self.made("budgets", **(body | {"window": {"kind": "month"}, "mode": "hard"} | fields))

    def made(self, what: str, **body: Any) -> dict[str, Any]:
        return accepted(self.admin.post(f"/api/{what}", json=body))

    def balance(self, account: str) -> dict[str, Any]:
        """The lowest balance on the account's path: limit, spent, held, remaining as decimal strings."""
        items = accepted(self.admin.get("/api/balances", params={"account": account}))["items"]
        return dict(items[-1])

    def summary(self, account: str) -> dict[str, Any]:
        return accepted(self.admin.get("/api/usage/summary", params={"account": account}))

    def charge(self, request_id: str) -> dict[str, Any]:
        return accepted(self.admin.get(f"/api/charges/{request_id}"))

    # What a caller does

    def openai(self, tenant: Tenant, **options: Any) -> openai.AsyncOpenAI:
        """The official SDK, pointed here by base URL and key, and nothing else."""
        options = {"max_retries": 0, "timeout": TIMEOUT_S} | options
        caller = openai.AsyncOpenAI(base_url=f"{self.gateway_url}/v1", api_key=tenant.api_key, **options)
        self._callers.append(caller)
        return caller

    # What auditors compare

    async def ledger(self, org: str) -> list[asyncpg.Record]:
        """Every ledger row of an org."""
        return await self.rows("SELECT * FROM metering.ledger WHERE org = $1 ORDER BY entry_id", org)

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.stack.around.postgres.dsn("farebox"))
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()


def accepted(response: httpx.Response) -> dict[str, Any]:
    """The body of an answer that must be a success."""
    assert response.is_success, (
        f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
    )
    body: dict[str, Any] = response.json()
    return body


def orders(prompt: int, completion: int, **more: object) -> dict[str, str]:
    """What to tell the demo provider, as the SDK's `metadata`."""
    told = {"demo_prompt_tokens": prompt, "demo_completion_tokens": completion, **more}
    return {name: str(value) for name, value in told.items()}


def cost_of(lines: Sequence[dict[str, Any]], at: Any) -> int:
    """What the provider's bill comes to, in nano-USD, each line priced by itself."""
    total = 0
    for line in lines:
        usage = Usage(
            input=line["prompt_tokens"] - line["cached_tokens"],
            cache_read=line["cached_tokens"],
            output=line["completion_tokens"],
        )
        charge = CATALOGUE.price("openai", line["model"], usage, at)
        assert isinstance(charge, Charge), charge
        total += charge.cost_nano_usd
    return total


def nano(text: str) -> int:
    """A decimal string as nano-units."""
    return int(Decimal(text) * 10**9)
