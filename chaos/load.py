"""Callers: they go on calling, through every gateway, whatever they are told, and write down what they were told."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import aiohttp

from chaos.admin import NANO
from chaos.calls import Call, Draw, Drawn
from chaos.meter import Meter

PATIENCE_S: Final = 8.0
"""How long a caller waits for an answer."""
CALLERS: Final = 64
SHUNNED_S: Final = 0.7
"""A gateway that gave no answer, or a 503, is left alone for so long, as a balancer would."""


@dataclass(slots=True)
class Journal:
    """Every call of the run, and the meter that runs beside."""

    meter: Meter
    calls: list[Call] = field(default_factory=list)

    def answered(self) -> list[Call]:
        return [call for call in self.calls if call.status == 200]

    def keep(self, file: Path) -> None:
        """Write every call down, a JSON object a line, for whoever looks for a story."""
        with file.open("w") as lines:
            for call in self.calls:
                lines.write(json.dumps(call.as_dict()) + "\n")


class Load:
    """Keeps a rate of calls until told to stop.

    `gateways` (names and addresses) and `gone` are looked at for each call: others may come, some are gone for good.
    """

    def __init__(
        self,
        *,
        seed: int,
        per_s: float,
        draw: Draw,
        gateways: Mapping[str, str],
        gone: Collection[str],
        journal: Journal,
    ) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - a load, not a secret
        self._per_s = per_s
        self._draw = draw
        self._gateways = gateways
        self._gone = gone
        self._journal = journal
        self._next_at = 0.0
        self._stopping = asyncio.Event()
        self._shunned: dict[str, float] = {}
        self._under_way: Counter[str] = Counter()

    async def run(self) -> None:
        """Until `stop`; then calls under way are awaited."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15)
        self._next_at = time.monotonic()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            await asyncio.gather(*(self._caller(session) for _ in range(CALLERS)))

    def stop(self) -> None:
        self._stopping.set()

    async def _caller(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            wait_s = self._next_at - time.monotonic()
            self._next_at = max(self._next_at, time.monotonic() - 1.0) + 1 / self._per_s
            if wait_s > 0 and await self._stops_within(wait_s):
                return
            drawn = self._draw.next()
            drawn.call.gateway, drawn.call.began = self._chosen(), time.monotonic()
            await self._made(session, drawn)

    async def _stops_within(self, seconds: float) -> bool:
        """Waits, at a low rate for minutes, but not beyond the end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _chosen(self) -> str:
        """As a balancer would: of two that were not just seen away, the one with less under way."""
        now = time.monotonic()
        known = [name for name in self._gateways if name not in self._gone]
        here = [name for name in known if self._shunned.get(name, 0.0) < now] or known
        return min(self._chance.choices(here, k=2), key=lambda name: self._under_way[name])

    async def _made(self, session: aiohttp.ClientSession, drawn: Drawn) -> None:
        call = drawn.call
        self._journal.calls.append(call)
        self._under_way[call.gateway] += 1
        self._journal.meter.begins(call)
        url = f"{self._gateways[call.gateway]}{drawn.path}"
        try:
            async with session.post(url, data=drawn.body, headers=drawn.headers) as answer:
                call.status = answer.status
                taken = await answer.read()
            _understand(call, taken, answer.headers.get("x-farebox-cost"))
        except (aiohttp.ClientError, TimeoutError, OSError):
            call.is_whole = False
        if not call.is_whole or call.status == 503:
            self._shunned[call.gateway] = time.monotonic() + SHUNNED_S
        call.ended = time.monotonic()
        self._under_way[call.gateway] -= 1
        self._journal.meter.ends(call)


def _understand(call: Call, taken: bytes, cost: str | None) -> None:
    """What the answer says: what it cost, or why there is none."""
    call.is_whole = True
    if call.status == 200:
        stated = cost or _stated_cost(taken)
        call.billed = None if stated is None else int(Decimal(stated) * NANO)
        return
    try:
        error = json.loads(taken).get("error") or {}
    except (ValueError, AttributeError):
        return
    call.code = str(error.get("code") or error.get("type") or "")


def _stated_cost(taken: bytes) -> str | None:
    """A stream ends with its cost as a comment."""
    for line in reversed(taken[-300:].splitlines()):
        if line.startswith(b": x-farebox-cost "):
            return line.split()[2].decode()
    return None


def counted(calls: Iterable[Call]) -> dict[str, int]:
    """Calls by what became of them."""
    return dict(Counter(_kind(call) for call in calls))


def _kind(call: Call) -> str:
    if call.status is None or not call.is_whole:
        return "unanswered"
    if call.status == 200:
        return "answered"
    if is_refused_for_money(call):
        return "refused for money"
    if call.status == 503:
        return "refused for want of the budget service"
    return f"other {call.status}"


def is_refused_for_money(call: Call) -> bool:
    return call.status in (402, 429) and call.code in ("budget_exceeded", "insufficient_balance", "quota_exceeded")
