"""What an administrator changes while the load goes on: limits, prices, budgets, keys."""

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from chaos.admin import AdminClient
from chaos.budgets import PAUSED, Budget, Target
from chaos.schedule import Fault
from chaos.tariff import Rate, Tariff
from chaos.tenants import Key, Tenant, new_key

FIRST: Rate = Rate(3000, 3000, 15000)
LEAST: Rate = Rate(500, 500, 5000)
MOST: Rate = Rate(9000, 9000, 45000)
KEYS_MADE_MAX = 20


class Market:
    """`models` are those with a price of ours; callers ask for them before they have one."""

    def __init__(self, admin: AdminClient, tenants: Sequence[Tenant], tariff: Tariff) -> None:
        self._admin = admin
        self._tenants = tenants
        self._tariff = tariff
        self.models: list[str] = []

    async def raise_limit(self, fault: Fault) -> None:
        chance = _chance(fault)
        await self._change(chance.choice(self._money()), chance.choice((130, 160, 200)))

    async def cut_limit(self, fault: Fault) -> None:
        """Also below what is spent and out."""
        chance = _chance(fault)
        await self._change(chance.choice(self._money()), chance.choice((50, 80, 90)))

    async def add_price(self, _: Fault) -> None:
        model = f"gpt-chaos-{len(self.models) + 1}"
        self.models.append(model)
        await asyncio.sleep(1.0)  # asked for before there is a price: refused
        await self._announce(model, FIRST)

    async def change_price(self, fault: Fault) -> None:
        """Up or down."""
        if not self.models:
            await self.add_price(fault)
            return
        chance = _chance(fault)
        model, percent = chance.choice(self.models), chance.choice((70, 90, 130, 150))
        old = self._tariff.newest(model)
        input_, output = (each * percent // 100 for each in (old.input, old.output))
        input_ = min(max(LEAST.input, input_), MOST.input)
        await self._announce(model, Rate(input_, input_, min(max(LEAST.output, output), MOST.output)))

    async def new_budget(self, fault: Fault) -> None:
        """Hard, on some account of some org, also for some of its calls only."""
        chance = _chance(fault)
        tenant = chance.choice([tenant for tenant in self._tenants if tenant.currency == "USD"])
        account = chance.choice(chance.choice(tenant.keys).path[1:])
        limit = chance.choice((8_000_000, 30_000_000, 100_000_000))
        narrowed = chance.choice((Target(), Target(feature="chat"), Target(provider="anthropic")))
        budget = await self._admin.budget(account, limit, narrowed_to=narrowed)
        tenant.budgets.append(budget)

    async def switch_budget(self, fault: Fault) -> None:
        """Soft to hard, hard to paused, paused to hard."""
        budget = _chance(fault).choice(self._money())
        await self._admin.switch(budget, PAUSED if budget.phases[-1].mode == "hard" else "hard")

    async def revoke_key(self, fault: Fault) -> None:
        """Its callers go on calling with it; its account gets another."""
        chance = _chance(fault)
        tenant = chance.choice(self._tenants)
        await self.revoke(chance.choice(tenant.keys), tenant)

    async def revoke(self, key: Key, tenant: Tenant) -> None:
        if len(tenant.keys) < KEYS_MADE_MAX:
            tenant.keys.append(await new_key(self._admin, key.path))
        key.revocation_asked_at = min(key.revocation_asked_at, time.monotonic())
        await self._admin.revoke(key.key_id)
        key.revoked_at = min(key.revoked_at, time.monotonic())

    def _money(self) -> list[Budget]:
        return [budget for tenant in self._tenants for budget in tenant.budgets if budget.measure == "money"]

    async def _change(self, budget: Budget, percent: int) -> None:
        await self._admin.limit(budget, budget.newest_limit * percent // 100)

    async def _announce(self, model: str, rate: Rate) -> None:
        """In USD a million tokens. It may be in force once it was asked for; from when on it is, the answer says."""
        asked_at = time.monotonic()
        row = await self._admin.price(model, {"input": _usd(rate.input), "output": _usd(rate.output)})
        ahead_s = (datetime.fromisoformat(row["effective_from"]) - datetime.now(UTC)).total_seconds()
        self._tariff.put(model, rate, since=asked_at, surely=time.monotonic() + max(0.0, ahead_s))


def _usd(nano_a_token: int) -> str:
    return f"{Decimal(nano_a_token) / 1000:f}"


def _chance(fault: Fault) -> random.Random:
    """The fault's own draw, so that faults left out of a schedule change no other."""
    return random.Random(int(fault.detail))  # noqa: S311 - part of the schedule
