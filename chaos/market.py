"""What an administrator changes while the load goes on: limits and prices."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

from chaos.schedule import Fault
from chaos.tariff import Rate, Tariff
from chaos.tenants import Budget, Office, Tenant

FIRST: Rate = Rate(3000, 3000, 15000)
STEP: Rate = Rate(500, 500, 1000)
LEAST: Rate = Rate(500, 500, 5000)
MOST: Rate = Rate(6000, 6000, 30000)


class Market:
    """`models` are those with a price of ours; callers ask for them before they have one."""

    def __init__(self, office: Office, tenants: list[Tenant], tariff: Tariff) -> None:
        self._office = office
        self._budgets = [budget for tenant in tenants for budget in tenant.budgets if budget.measure == "money"]
        self._tariff = tariff
        self.models: list[str] = []

    async def raise_limit(self, fault: Fault) -> None:
        chance = _chance(fault)
        await self._change(chance.choice(self._budgets), chance.choice((130, 160, 200)))

    async def cut_limit(self, fault: Fault) -> None:
        """Also below what is spent and out."""
        chance = _chance(fault)
        await self._change(chance.choice(self._budgets), chance.choice((50, 80, 90)))

    async def add_price(self, _: Fault) -> None:
        model = f"gpt-chaos-{len(self.models) + 1}"
        self._tariff.put(model, datetime.now(UTC), FIRST)
        self.models.append(model)
        await asyncio.sleep(1.0)  # asked for before there is a price: refused
        await self._announce(model, FIRST)

    async def change_price(self, fault: Fault) -> None:
        if not self.models:
            await self.add_price(fault)
            return
        chance = _chance(fault)
        model = chance.choice(self.models)
        if chance.choice((True, False)):
            await self._raise_price(model, self._tariff.newest(model))
            return
        old = self._tariff.at(model, datetime.now(UTC))
        new = Rate(
            max(LEAST.input, old.input - STEP.input),
            max(LEAST.cached, old.cached - STEP.cached),
            max(LEAST.output, old.output - STEP.output),
        )
        self._tariff.put(model, datetime.now(UTC), new)
        await self._announce(model, new)

    async def _raise_price(self, model: str, old: Rate) -> None:
        """It takes effect when metering says: a lead time later, when every gateway that is not cut off knows it."""
        new = Rate(
            min(MOST.input, old.input + STEP.input),
            min(MOST.cached, old.cached + STEP.cached),
            min(MOST.output, old.output + STEP.output),
        )
        row = await self._announce(model, new)
        self._tariff.put(model, datetime.fromisoformat(row["effective_from"]), new)

    async def _change(self, budget: Budget, percent: int) -> None:
        await self._office.limit(budget, budget.newest_limit * percent // 100)

    async def _announce(self, model: str, rate: Rate) -> dict[str, Any]:
        """In USD a million tokens; the price row as it was added."""
        return await self._office.price(model, {"input": f"{rate.input / 1000:g}", "output": f"{rate.output / 1000:g}"})


def _chance(fault: Fault) -> random.Random:
    """The fault's own draw, so that faults left out of a schedule change no other."""
    return random.Random(int(fault.detail))  # noqa: S311 - part of the schedule
