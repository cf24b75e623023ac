"""SIGKILL of every service, and of Kafka and PostgreSQL, under traffic: ledger, balances and bill agree to the nano."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import openai
import pytest

from support.eventually import eventually
from support.farebox import Farebox, Tenant, cost_of, nano, orders

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "max_tokens": 30,
    "messages": [{"role": "user", "content": "hello there, " * 20}],
}
CALLERS = 4
CALLS_BEFORE = 10


@pytest.mark.parametrize("victim", ["metering", "budget", "notifier", "kafka", "postgres"])
async def test_a_part_killed_under_traffic_comes_back_and_the_books_agree(farebox: Farebox, victim: str) -> None:
    tenant = farebox.tenant()
    farebox.budget(tenant.org, "5")
    billed_before = len(farebox.provider.bill())
    async with _traffic(farebox, tenant) as answered:
        await eventually(lambda: len(answered) >= CALLS_BEFORE)
        await asyncio.to_thread(farebox.stack.kill, victim)
        await asyncio.to_thread(farebox.stack.start, victim)
        seen = len(answered)
        await eventually(lambda: len(answered) >= seen + CALLS_BEFORE, within_s=40)
    await eventually(lambda: _books_agree(farebox, tenant, billed_before), within_s=60)


async def test_a_gateway_killed_under_traffic_counts_what_it_sent_at_no_less_than_was_billed(
    farebox: Farebox,
) -> None:
    tenant = farebox.tenant()
    farebox.budget(tenant.org, "5")
    billed_before = len(farebox.provider.bill())
    async with _traffic(farebox, tenant) as answered:
        await eventually(lambda: len(answered) >= CALLS_BEFORE)
        await asyncio.to_thread(farebox.stack.kill, "gateway")
        await asyncio.to_thread(farebox.stack.start, "gateway")
        seen = len(answered)
        await eventually(lambda: len(answered) >= seen + CALLS_BEFORE, within_s=40)

    async def agree() -> bool:
        ledger = await farebox.ledger(tenant.org)
        lines = farebox.provider.bill()[billed_before:]
        charged = {str(row["attempt_id"]) for row in ledger}
        assert {line["request_id"] for line in lines} <= charged
        assert len(charged) == len(ledger)
        known = {line["request_id"] for line in lines}
        for row in ledger:  # what was sent, and killed before its answer was known, is charged at an estimate
            assert str(row["attempt_id"]) in known or row["usage_source"] == "estimated"
        balance = farebox.balance(tenant.org)
        assert nano(balance["spent"]) == sum(row["amount_nano"] for row in ledger)
        assert nano(balance["spent"]) + nano(balance["uncertain"]) >= cost_of(lines, datetime.now(UTC))
        assert balance["held"] == "0"
        return True

    await eventually(agree, within_s=60)


async def _books_agree(farebox: Farebox, tenant: Tenant, billed_before: int) -> bool:
    ledger = await farebox.ledger(tenant.org)
    lines = farebox.provider.bill()[billed_before:]
    assert len(ledger) == len(lines)
    assert sum(row["cost_nano_usd"] for row in ledger) == cost_of(lines, datetime.now(UTC))
    balance = farebox.balance(tenant.org)
    assert nano(balance["spent"]) == sum(row["amount_nano"] for row in ledger)
    assert balance["held"] == "0"
    return True


@contextlib.asynccontextmanager
async def _traffic(farebox: Farebox, tenant: Tenant) -> Any:
    """Callers that go on calling, whatever they are told; yields the list of answers so far."""
    answered: list[str] = []
    stop = asyncio.Event()

    async def call(number: int) -> None:
        client = farebox.openai(tenant)
        while not stop.is_set():
            with contextlib.suppress(openai.APIError):
                ask = ASK | {"metadata": orders(50 + number, 20 + number)}
                if number % 2:
                    async for _ in await client.chat.completions.create(**ask, stream=True):
                        pass
                else:
                    await client.chat.completions.create(**ask)
                answered.append("ok")
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(call(number)) for number in range(CALLERS)]
    try:
        yield answered
    finally:
        stop.set()
        await asyncio.gather(*tasks)
