"""What lost gateways may have spent: as the books count it, and an operator who says that they did not.

With `evidence`, the only place that knows the budget service's tables and its API about rights to spend.
"""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import asyncpg

from chaos.admin import NANO, AdminClient
from chaos.meter import Meter
from farebox_local.stack import Stack

LOOK_EVERY_S: Final = 0.5
_COUNTED: Final = (
    "SELECT budget_id, sum(suspended + uncertain) AS suspended FROM budget.budget_window GROUP BY budget_id"
)


@dataclass(frozen=True, slots=True)
class Release:
    """An operator's release. `answer` is its status; `lived` whether the gateway's process was there all the same."""

    at: float
    gateway: str
    budget_id: str
    amount: int
    answer: int
    lived: bool

    @property
    def is_done(self) -> bool:
        return self.answer < 300


async def follow(stack: Stack, meter: Meter) -> None:
    """Until cancelled: tell the meter what budgets count as spent for a lost gateway's sake."""
    while True:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(stack.around.postgres.dsn("farebox"), timeout=2)
            try:
                rows = await connection.fetch(_COUNTED, timeout=2)
            finally:
                connection.terminate()
            meter.suspended = {str(row["budget_id"]): int(row["suspended"]) for row in rows}
        await asyncio.sleep(LOOK_EVERY_S)


class Operator:
    """Releases what is in suspense, whether it is wise or not. `unheard` are gateways that live all the same."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self.unheard: set[str] = set()
        self.releases: list[Release] = []

    async def release_one(self, chance: random.Random) -> None:
        """Whatever the budget service lists."""
        if items := await self._listed():
            item = chance.choice(items)
            await self._release(items, item["gateway"], item["epoch"])

    async def release_all_of(self, gateway: str) -> None:
        items = await self._listed()
        for epoch in sorted({item["epoch"] for item in items if item["gateway"] == gateway}):
            await self._release(items, gateway, epoch)

    async def _listed(self) -> list[dict[str, Any]]:
        status, answer = await self._admin.asked("GET", "suspended-shares")
        items: list[dict[str, Any]] = answer["items"] if status == 200 else []
        return items

    async def _release(self, items: list[dict[str, Any]], gateway: str, epoch: int) -> None:
        body = {"gateway": gateway, "epoch": epoch, "reason": "nothing of it was spent, says an operator"}
        at = time.monotonic()
        status, _ = await self._admin.asked("POST", "suspended-shares/release", body)
        for item in items:
            if (item["gateway"], item["epoch"]) == (gateway, epoch):
                amount = _nano(item["held"], item["currency"])
                self.releases.append(Release(at, gateway, item["budget_id"], amount, status, gateway in self.unheard))


def _nano(text: str, currency: str | None) -> int:
    return int(text) if currency is None else int(Decimal(text) * NANO)
