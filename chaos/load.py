"""Callers: they go on calling, through every gateway, whatever they are told, and write down what they were told."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp

from chaos.meter import Meter
from chaos.tariff import Tariff
from chaos.tenants import NANO, Key, Tenant

PATIENCE_S: Final = 8.0
"""How long a caller waits for an answer."""
CALLERS: Final = 64
SHUNNED_S: Final = 0.7
"""A gateway that gave no answer, or a 503, is left alone for so long, as a balancer would."""
_FILLER: Final = "What does this call cost, and who pays for it? "
_FAULTS: Final = ("http_500", "http_429", "cut_before_usage", "no_usage", "hang", "malformed")
_FAULTS_OF_100: Final = 6
_MODELS: Final = ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o-mini", "claude-haiku-4-5")


@dataclass(slots=True, eq=False)
class Call:
    """One call. Times are monotonic seconds, `least` and `worst` billed nano; `status` is None where no answer came."""

    id: str
    tenant: Tenant
    key: Key
    gateway: str
    model: str
    streamed: bool
    fault: str | None
    least: int
    worst: int
    tokens: int
    began: float
    ended: float = 0.0
    status: int | None = None
    code: str = ""
    billed: int | None = None
    is_whole: bool = False
    room: int | None = None
    """Of a refusal for money: what the tightest budget had left beyond this call; below 0 where it was right."""

    def as_dict(self) -> dict[str, Any]:
        told = (
            "id",
            "gateway",
            "model",
            "streamed",
            "fault",
            "least",
            "worst",
            "began",
            "ended",
            "status",
            "code",
            "room",
        )
        return {"org": self.tenant.org, "key": self.key.key_id, "billed": self.billed} | {
            name: getattr(self, name) for name in told
        }


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
    """Keeps a rate of calls until told to stop. What a call is, is drawn from the seed.

    `models` and `gone` are looked at for each call: more models to ask for, gateways that are gone for good.
    """

    def __init__(
        self,
        *,
        seed: int,
        per_s: float,
        tenants: list[Tenant],
        gateways: dict[str, str],
        gone: Collection[str],
        models: Sequence[str],
        tariff: Tariff,
        journal: Journal,
    ) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - a load, not a secret
        self._per_s = per_s
        self._tenants = tenants
        self._gateways = gateways
        self._gone = gone
        self._models = models
        self._tariff = tariff
        self._journal = journal
        self._count = 0
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
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            call, path, body = self._drawn()
            await self._made(session, call, f"{self._gateways[call.gateway]}{path}", body)

    def _drawn(self) -> tuple[Call, str, bytes]:
        chance = self._chance
        self._count += 1
        tenant = chance.choice(self._tenants)
        key = chance.choice(tenant.keys)
        model = chance.choice((*_MODELS, *self._models))
        streamed = chance.random() < 0.5
        fault = chance.choice(_FAULTS) if chance.randrange(100) < _FAULTS_OF_100 else None
        text = _FILLER * chance.randint(2, 16)
        max_tokens = chance.randint(8, 60)
        prompt = chance.randint(1, len(text) // 4)
        orders = {
            "demo_prompt_tokens": str(prompt),
            "demo_cached_tokens": str(chance.randint(0, prompt) if chance.random() < 0.3 else 0),
            "demo_completion_tokens": str(chance.randint(1, max_tokens)),
            "demo_latency_ms": str(chance.choice((0, 5, 20, 60, 200))),
            "demo_chunk_delay_ms": str(chance.choice((0, 0, 2, 8))),
        } | ({"demo_fault": fault} if fault else {})
        id_ = f"call-{self._count}"
        body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "stream": streamed}
        body["messages"] = [{"role": "user", "content": text}]
        if model.startswith("claude"):
            path, body["metadata"] = "/v1/messages", {"user_id": id_, **orders}
        else:
            path, body["metadata"], body["user"] = "/v1/chat/completions", orders, id_
        raw = json.dumps(body).encode()
        gateway = self._chosen()
        least, worst = self._bounds(tenant, model, len(raw), max_tokens)
        tokens = len(raw) + 16 + max_tokens
        call = Call(id_, tenant, key, gateway, model, streamed, fault, least, worst, tokens, time.monotonic())
        return call, path, raw

    def _chosen(self) -> str:
        """As a balancer would: of two that were not just seen away, the one with less under way."""
        now = time.monotonic()
        known = [name for name in self._gateways if name not in self._gone]
        here = [name for name in known if self._shunned.get(name, 0.0) < now] or known
        return min(self._chance.choices(here, k=2), key=lambda name: self._under_way[name])

    def _bounds(self, tenant: Tenant, model: str, body_bytes: int, max_tokens: int) -> tuple[int, int]:
        """The least that admits the call and its worst case; a model that nobody has priced costs nothing."""
        if not self._tariff.has(model):
            return 0, 0
        rates = self._tariff.all(model)
        worst = max(rate.worst(body_bytes, max_tokens) for rate in rates) * tenant.fx
        least = max(rate.worst(body_bytes, min(16, max_tokens)) for rate in rates) * tenant.fx
        return (least if tenant.clamp else worst), worst

    async def _made(self, session: aiohttp.ClientSession, call: Call, url: str, body: bytes) -> None:
        self._journal.calls.append(call)
        self._under_way[call.gateway] += 1
        self._journal.meter.begins(call)
        headers = {"authorization": f"Bearer {call.key.api_key}", "content-type": "application/json"}
        if url.endswith("/v1/messages"):
            headers["anthropic-version"] = "2023-06-01"
        try:
            async with session.post(url, data=body, headers=headers) as answer:
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
    counts: dict[str, int] = {}
    for call in calls:
        kind = _kind(call)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _kind(call: Call) -> str:
    if call.status is None or not call.is_whole:
        return "unanswered"
    if call.status == 200:
        return "answered"
    if call.status in (402, 429) and call.code in ("budget_exceeded", "insufficient_balance", "quota_exceeded"):
        return "refused for money"
    if call.status == 503:
        return "refused for want of the budget service"
    return f"other {call.status}"
