"""What is really spent and under way, as callers see it: which refusals for money were false."""

import time
from collections.abc import Mapping
from typing import Final

from chaos.budgets import Budget
from chaos.calls import Call
from chaos.outages import Outages
from chaos.schedule import RIGHTS
from chaos.tenants import Tenant

SETTLE_S: Final = 1.0
"""For so long a call that has ended counts with its whole worst case: its difference is on its way back."""
NEVER_SENT: Final = (400, 401, 402, 403, 404, 429, 503)
"""Refused by the gateway, or by the provider before it worked."""
REFUSALS: Final = ("budget_exceeded", "insufficient_balance", "quota_exceeded")


class Meter:
    """Per budget: what ended calls cost, and what calls under way may cost. Costs that nobody stated count as worst."""

    def __init__(self, everybodys: list[Budget], outages: Outages) -> None:
        self._everybodys = everybodys
        self._outages = outages
        self._spent: dict[str, int] = {}
        self._under_way: dict[str, int] = {}
        self._counted: dict[str, list[Budget]] = {}
        self._ending: list[tuple[float, str, int, int]] = []
        self.suspended: Mapping[str, int] = {}
        """What budgets count as spent because a gateway was lost, or nobody reported; as the books say."""
        self.false_refusals: list[Call] = []
        self.false_while_away: list[Call] = []

    def begins(self, call: Call) -> None:
        self._counted[call.id] = self._of(call)
        for budget in self._counted[call.id]:
            self._under_way[budget.budget_id] = self._under_way.get(budget.budget_id, 0) + _worst(call, budget)

    def ends(self, call: Call) -> None:
        """Judge a refusal, before the call's own worst case is forgotten; settle what was answered."""
        self._settle_ended()
        if call.status in (402, 429) and call.code in REFUSALS:
            call.room = self._room(call)
            if call.room >= 0:
                is_disturbed = self._outages.disturbed(RIGHTS, call.began, call.ended)
                (self.false_while_away if is_disturbed else self.false_refusals).append(call)
        settled_at = time.monotonic() + (0.0 if call.status in NEVER_SENT else SETTLE_S)
        for budget in self._counted.pop(call.id):
            self._ending.append((settled_at, budget.budget_id, _worst(call, budget), _spent(call, budget)))
        self._ending.sort()

    def _settle_ended(self) -> None:
        now = time.monotonic()
        while self._ending and self._ending[0][0] <= now:
            _, budget_id, worst, spent = self._ending.pop(0)
            self._under_way[budget_id] -= worst
            self._spent[budget_id] = self._spent.get(budget_id, 0) + spent

    def _room(self, call: Call) -> int:
        """What the tightest hard budget had left beside all that was going on, and beside the least this call needs."""
        return min(
            (
                budget.lowest_in_force
                - self._spent.get(budget.budget_id, 0)
                - self.suspended.get(budget.budget_id, 0)
                - (self._under_way.get(budget.budget_id, 0) - _worst(call, budget))
                - _least(call, budget)
                for budget in self._of(call)
                if budget.may_refuse(call.began, call.ended)
            ),
            default=0,
        )

    def _of(self, call: Call) -> list[Budget]:
        tenant: Tenant = call.tenant
        return tenant.budgets_of(call.key, call.target, self._everybodys)


def _worst(call: Call, budget: Budget) -> int:
    return {"money": call.worst, "requests": 1, "tokens": call.tokens}[budget.measure]


def _least(call: Call, budget: Budget) -> int:
    return {"money": call.least, "requests": 1, "tokens": call.tokens}[budget.measure]


def _spent(call: Call, budget: Budget) -> int:
    """What a call that has ended cost. Nothing if it was refused; its worst case if nobody said."""
    if call.status is not None and call.status != 200:
        return 0 if call.status in NEVER_SENT else _worst(call, budget)
    if budget.measure == "money" and call.billed is not None:
        return call.billed
    if budget.measure == "tokens":
        return max(call.tokens, call.ordered_tokens)
    return _worst(call, budget)
