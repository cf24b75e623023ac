"""The main job: an official SDK calls, the call is priced, the balance falls, people and programs hear of it, 402."""

import json
from typing import Any

import asyncpg
import openai

from support.eventually import eventually
from support.farebox import Farebox, Tenant, nano, orders

MODEL = "gpt-4o-mini"
PRICE_NANO = 500 * 150 + 300 * 600  # 0.15 and 0.60 USD a million: 0.000255 USD
ASK: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 300,
    "messages": [{"role": "user", "content": "Xin chào! " * 100}],
    "metadata": orders(500, 300),
}


async def test_an_unchanged_sdk_gets_its_answer_and_the_call_its_price(farebox: Farebox) -> None:
    tenant = farebox.tenant()
    farebox.budget(tenant.org, "1")
    answer = await farebox.openai(tenant).chat.completions.with_raw_response.create(**ASK)
    assert answer.parse().choices[0].message.content
    charge = await eventually(lambda: farebox.charge(answer.headers["x-farebox-request-id"]))
    assert "0.000255" in json.dumps(charge)
    (row,) = await farebox.ledger(tenant.org)
    assert (row["cost_nano_usd"], row["amount_nano"]) == (PRICE_NANO, PRICE_NANO)

    def balance_is_lower() -> bool:
        return bool(farebox.balance(tenant.org)["spent"] == "0.000255")

    await eventually(balance_is_lower)


async def test_a_stream_is_priced_from_its_own_usage_and_shows_none_that_was_not_asked_for(farebox: Farebox) -> None:
    tenant = farebox.tenant()
    farebox.budget(tenant.org, "1")
    chunks = [chunk async for chunk in await farebox.openai(tenant).chat.completions.create(**ASK, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    await eventually(lambda: _spent(farebox, tenant, PRICE_NANO))


async def test_a_stream_that_asked_for_usage_gets_it(farebox: Farebox) -> None:
    tenant = farebox.tenant()
    stream = await farebox.openai(tenant).chat.completions.create(
        **ASK, stream=True, stream_options={"include_usage": True}
    )
    usages = [chunk.usage async for chunk in stream if chunk.usage]
    assert [(usage.prompt_tokens, usage.completion_tokens) for usage in usages] == [(500, 300)]


async def test_a_crossed_threshold_reaches_people_by_mail_and_programs_by_signed_webhook(farebox: Farebox) -> None:
    tenant = farebox.tenant(currency="VND", fx_rate="24167", language="vi", zone="Asia/Ho_Chi_Minh")
    recipient, hook = f"{tenant.org}@example.com", tenant.org
    farebox.made("channels", account=tenant.org, kind="email", recipients=[recipient])
    channel = farebox.made("channels", account=tenant.org, kind="webhook", url=farebox.webhooks.endpoint(hook))
    farebox.webhooks.register(hook, channel["secret"])
    farebox.budget(tenant.org, "12", thresholds=[{"severity": "warning", "percent": "50"}])
    await farebox.openai(tenant).chat.completions.create(**ASK)

    def mail() -> Any:
        (found,) = [each for each in farebox.mail.messages() if recipient in str(each["to"])]
        return found

    message = await eventually(mail)
    assert "<html" in message["html"].lower()
    assert "VND" in message["text"]
    assert "51" in message["text"]

    def webhook() -> Any:
        (found,) = farebox.webhooks.received(hook)
        return found

    received = await eventually(webhook)
    assert received["verified"] is True
    assert "threshold_crossed" in str(received["body"])


async def test_a_used_up_budget_refuses_the_very_next_call_and_says_why(farebox: Farebox) -> None:
    tenant = farebox.tenant(currency="KRW", fx_rate="1300", language="ko", zone="Asia/Seoul")
    exact = _exact_ask()
    farebox.made("prices", provider="openai", model="gpt-4o-e2e", per=1_000_000, rates={"input": "3", "output": "15"})
    farebox.budget(tenant.org, "100", name="하루 예산", window={"kind": "day"})
    client = farebox.openai(tenant)
    await eventually(lambda: _passes(farebox, tenant, exact))
    answered, refusal = await _call_until_refused(client, exact)
    assert refusal.status_code == 402
    error = json.loads(refusal.response.text)["error"]
    assert error["code"] == "budget_exceeded"
    assert error["budget_exceeded"] is True
    assert {"scope", "limit", "spent", "held", "remaining", "resets_at", "currency"} <= error.keys()
    charges = [row["amount_nano"] for row in await _ledger_of(farebox, tenant, 1 + answered)]
    await eventually(lambda: nano(farebox.balance(tenant.org)["spent"]) == sum(charges))
    assert sum(charges) <= nano("100")


async def test_a_revoked_key_is_refused(farebox: Farebox) -> None:
    tenant = farebox.tenant()
    client = farebox.openai(tenant)
    await client.chat.completions.create(**ASK)
    farebox.admin.delete(f"/api/keys/{tenant.key_id}").raise_for_status()

    async def refused() -> bool:
        try:
            await client.chat.completions.create(**ASK)
        except openai.AuthenticationError:
            return True
        return False

    await eventually(refused, within_s=30)


async def _call_until_refused(client: openai.AsyncOpenAI, ask: dict[str, Any]) -> tuple[int, openai.APIStatusError]:
    """How many calls were answered, and what the first that was not was told."""
    for answered in range(1000):
        try:
            await client.chat.completions.create(**ask)
        except openai.APIStatusError as error:
            return answered, error
    raise AssertionError("a thousand calls passed")


async def _ledger_of(farebox: Farebox, tenant: Tenant, entries: int) -> list[asyncpg.Record]:
    """What the tenant was charged, once it is so many calls."""

    async def found() -> list[asyncpg.Record]:
        rows = await farebox.ledger(tenant.org)
        assert len(rows) == entries
        return rows

    return await eventually(found)


def _exact_ask() -> dict[str, Any]:
    return ASK | {"model": "gpt-4o-e2e"}


async def _passes(farebox: Farebox, tenant: Tenant, ask: dict[str, Any]) -> bool:
    """Once the new price has reached the gateway."""
    await farebox.openai(tenant).chat.completions.create(**ask)
    return True


def _spent(farebox: Farebox, tenant: Tenant, amount: int) -> bool:
    return nano(farebox.balance(tenant.org)["spent"]) == amount


async def test_the_books_at_rest_break_no_sentence(farebox: Farebox) -> None:
    tenant = farebox.tenant()
    farebox.budget(tenant.org, "1", thresholds=[{"severity": "info", "percent": "0.01"}])
    await farebox.openai(tenant).chat.completions.create(**ASK)
    await eventually(lambda: _spent(farebox, tenant, PRICE_NANO))
    assert farebox.stack.audit() == ""
