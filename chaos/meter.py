"""What is really spent and under way, as callers see it: which refusals for money were false."""

import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from chaos.absence import Absence
from chaos.tenants import Budget, Key, Tenant

SETTLE_S: Final = 1.0
"""For so long a call that has ended counts with its whole worst case: its difference is on its way back."""
_NEVER_SENT: Final = (400, 401, 402, 403, 404, 429, 503)
"""Refused by the gateway, or by the provider before it worked."""
_REFUSALS: Final = ("budget_exceeded", "insufficient_balance", "quota_exceeded")


class Metered(Protocol):
    """What the meter needs of a call."""

    tenant: Tenant
    key: Key
    least: int
    worst: int
    tokens: int
    began: float
    ended: float
    status: int | None
    code: str
    billed: int | None
    room: int | None


class Meter:
    """Per budget: what ended calls cost, and what calls under way may cost. Costs that nobody stated count as worst."""

    def __init__(self, everybodys: list[Budget], absence: Absence) -> None:
        self._everybodys = everybodys
        self._absence = absence
        self._spent: dict[str, int] = {}
        self._under_way: dict[str, int] = {}
        self._ending: list[tuple[float, str, int, int]] = []
        self.suspended: Mapping[str, int] = {}
        """What budgets count as spent because a gateway was lost; as the books say."""
        self.false_refusals: list[Any] = []
        self.false_while_away: list[Any] = []

    def begins(self, call: Metered) -> None:
        for budget in self._of(call):
            self._add(self._under_way, budget, _worst(call, budget))

    def ends(self, call: Metered) -> None:
        """Judge a refusal, before the call's own worst case is forgotten; settle what was answered."""
        self._settle_ended()
        if call.status in (402, 429) and call.code in _REFUSALS:
            call.room = self._room(call)
            if call.room >= 0:
                here = self._absence.is_nobodys(call.began)
                (self.false_refusals if here else self.false_while_away).append(call)
        settled_at = time.monotonic() + (0.0 if call.status in _NEVER_SENT else SETTLE_S)
        for budget in self._of(call):
            self._ending.append((settled_at, budget.budget_id, _worst(call, budget), _spent(call, budget)))
        self._ending.sort()

    def _settle_ended(self) -> None:
        now = time.monotonic()
        while self._ending and self._ending[0][0] <= now:
            _, budget_id, worst, spent = self._ending.pop(0)
            self._under_way[budget_id] -= worst
            self._spent[budget_id] = self._spent.get(budget_id, 0) + spent

    def _room(self, call: Metered) -> int:
        """What the tightest hard budget had left beside all that was going on, and beside the least this call needs."""
        return min(
            budget.lowest_in_force
            - self._spent.get(budget.budget_id, 0)
            - self.suspended.get(budget.budget_id, 0)
            - (self._under_way.get(budget.budget_id, 0) - _worst(call, budget))
            - _least(call, budget)
            for budget in self._of(call)
            if budget.is_hard
        )

    def _of(self, call: Metered) -> list[Budget]:
        return call.tenant.budgets_of(call.key, self._everybodys)

    @staticmethod
    def _add(figures: dict[str, int], budget: Budget, amount: int) -> None:
        figures[budget.budget_id] = figures.get(budget.budget_id, 0) + amount


def _worst(call: Metered, budget: Budget) -> int:
    return {"money": call.worst, "requests": 1, "tokens": call.tokens}[budget.measure]


def _least(call: Metered, budget: Budget) -> int:
    return {"money": call.least, "requests": 1, "tokens": call.tokens}[budget.measure]


def _spent(call: Metered, budget: Budget) -> int:
    """What a call that has ended cost. Nothing if it was refused; its worst case if nobody said."""
    if call.status is not None and call.status != 200:
        return 0 if call.status in _NEVER_SENT else _worst(call, budget)
    if budget.measure == "money" and call.billed is not None:
        return call.billed
    return _worst(call, budget)
