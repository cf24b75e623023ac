"""The administrator, over `/api` of any gateway."""

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import httpx

from chaos.budgets import ANY, PAUSED, Budget, Midnight, Phase, Target
from chaos.tariff import ALWAYS
from farebox_local.services import Surroundings

NANO: Final = 10**9
TIMEOUT_S: Final = 10.0
_ENOUGH: Final = (400, 404, 405, 409, 422)
"""Refusals that asking again does not change."""


class AdminClient:
    """Insists: an answer that does not come is asked for again. `is_running` once callers call."""

    def __init__(self, around: Surroundings, gateways: tuple[str, ...]) -> None:
        self.is_running = False
        self._urls = [around.url(gateway) for gateway in gateways]
        token = around.secrets.of("admin_token")
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, trust_env=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def made(self, what: str, **body: Any) -> dict[str, Any]:
        return await self._insist("POST", what, body, attempts=3)

    async def made_at_least_once(self, what: str, **body: Any) -> dict[str, Any]:
        """A thing of which one more does no harm: nobody uses the one whose answer was lost."""
        return await self._insist("POST", what, body, attempts=200)

    async def changed(self, what: str, **body: Any) -> dict[str, Any]:
        """A change that may be asked for twice."""
        return await self._insist("PATCH", what, body, attempts=200)

    async def asked(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Status and body of the first answer below 500."""
        for attempt in range(100):
            try:
                answer = await self._client.request(method, f"{self._url(attempt)}/api/{what}", json=body)
            except httpx.HTTPError:
                pass
            else:
                if answer.status_code < 500:
                    return answer.status_code, answer.json() if answer.content else None
            await asyncio.sleep(0.3)
        raise RuntimeError(f"{method} /api/{what}: no answer")

    async def _insist(self, method: str, what: str, body: Mapping[str, Any], *, attempts: int) -> dict[str, Any]:
        trouble = ""
        for attempt in range(attempts):
            try:
                answer = await self._client.request(method, f"{self._url(attempt)}/api/{what}", json=body)
            except httpx.HTTPError as error:
                trouble = repr(error)
            else:
                if answer.is_success:
                    taken: dict[str, Any] = answer.json()
                    return taken
                trouble = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code in _ENOUGH:
                    break
            await asyncio.sleep(0.3)
        raise RuntimeError(f"{method} /api/{what} {body}: {trouble}")

    def _url(self, attempt: int) -> str:
        return self._urls[attempt % len(self._urls)]

    async def budget(
        self,
        account: str,
        limit: int,
        *,
        mode: str = "hard",
        window: str = "lifetime",
        midnight: Midnight | None = None,
        measure: str = "money",
        thresholds: tuple[int, ...] = (50, 80, 95),
        narrowed_to: Target = ANY,
    ) -> Budget:
        """Make one; with a `midnight`, in its zone."""
        marks = [{"severity": f"at_{percent}", "percent": str(percent)} for percent in thresholds]
        narrowed = {name: value for name, value in narrowed_to._asdict().items() if value is not None}
        began = time.monotonic() if self.is_running else ALWAYS
        shown = await self.made(
            "budgets",
            account=account,
            name=" ".join((account, mode, measure, window, *narrowed.values(), str(began if self.is_running else ""))),
            measure=measure,
            window={"kind": window} | ({"zone": midnight.zone} if midnight else {}),
            mode=mode,
            limit=amount_text(limit, measure),
            thresholds=marks,
            **({"narrowed_to": narrowed} if narrowed else {}),
        )
        done = time.monotonic() if self.is_running else ALWAYS
        return Budget(
            shown["budget_id"],
            account,
            measure,
            mode,
            thresholds,
            {1: limit},
            limit,
            narrowed_to,
            (midnight.at,) if midnight else (),
            [Phase(mode, began, done)],
        )

    async def limit(self, budget: Budget, limit: int) -> None:
        """Change a limit; while that is under way the lower of both counts for refusals, the higher for spending."""
        budget.lowest_in_force = min(budget.newest_limit, limit)
        budget.asked.append((time.monotonic(), limit))
        shown = await self.changed(f"budgets/{budget.budget_id}", limit=amount_text(limit, budget.measure))
        budget.limits[shown["limit_revision"]] = limit
        budget.lowest_in_force = limit

    async def switch(self, budget: Budget, mode: str) -> None:
        """To another mode, to PAUSED, or back from it."""
        phase = Phase(mode, time.monotonic(), float("inf"))
        budget.phases.append(phase)
        change = {"active": False} if mode == PAUSED else {"mode": mode, "active": True}
        await self.changed(f"budgets/{budget.budget_id}", **change)
        phase.done_at = time.monotonic()

    async def revoke(self, key_id: str) -> None:
        status, answer = await self.asked("DELETE", f"keys/{key_id}")
        if status != 200:
            raise RuntimeError(f"DELETE /api/keys/{key_id}: {status} {answer}")

    async def price(self, model: str, rates: Mapping[str, str]) -> dict[str, Any]:
        return await self._insist(
            "POST",
            "prices",
            {"provider": "openai", "model": model, "per": 1_000_000, "rates": dict(rates)},
            attempts=100,
        )


def amount_text(amount: int, measure: str) -> str:
    return str(amount) if measure != "money" else f"{Decimal(amount) / NANO:f}"
