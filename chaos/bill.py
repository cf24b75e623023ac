"""The provider's bill beside the calls it is for: what each line comes to in a budget. Pure.

Instants are monotonic seconds of the run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from chaos.budgets import Budget
from chaos.calls import RESERVED_FOR_MEDIA_MAX, Call
from chaos.tariff import Rate, Tariff


@dataclass(frozen=True, slots=True)
class Billed:
    """A line that somebody has to pay. It was admitted between `call.began` and `at`."""

    line: Mapping[str, Any]
    call: Call
    at: float
    rates: tuple[Rate, ...]
    """Those that may have been in force when it was admitted."""

    @property
    def costs(self) -> set[int]:
        """What it may come to, in nano-USD."""
        return {self._cost(rate) for rate in self.rates}

    def amount(self, budget: Budget) -> int:
        """What it comes to in the budget's measure, at the least."""
        match budget.measure:
            case "requests":
                return 1
            case "tokens":
                return int(self.line["prompt_tokens"] + self.line["completion_tokens"])
            case _:
                return min(self.costs) * self.call.tenant.fx

    def excess(self, budget: Budget) -> int:
        """By how much it is above what must have been reserved for it."""
        call = self.call
        match budget.measure:
            case "requests":
                return 0
            case "tokens":
                return max(0, self.amount(budget) - call.tokens)
            case _:
                return max(0, min(self._cost(rate) - self._reserve(rate) for rate in self.rates)) * call.tenant.fx

    def most(self, budget: Budget) -> int:
        """The most that may be charged for it: more than it comes to, if nobody reported what it used."""
        if self.call.is_reported or budget.measure == "requests":
            return max(self._money(), default=0) if budget.measure == "money" else self.amount(budget)
        tokens = self.call.tokens + RESERVED_FOR_MEDIA_MAX
        if budget.measure == "tokens":
            return max(self.amount(budget), tokens)
        return max(rate.worst(tokens, self.call.output_bound) for rate in self.rates) * self.call.tenant.fx

    def _money(self) -> set[int]:
        return {cost * self.call.tenant.fx for cost in self.costs}

    def _cost(self, rate: Rate) -> int:
        return rate.cost(self.line["prompt_tokens"], self.line["cached_tokens"], self.line["completion_tokens"])

    def _reserve(self, rate: Rate) -> int:
        return rate.worst(self.call.input_bound, self.call.output_bound)


ByBudget: TypeAlias = Mapping[str, Sequence[Billed]]
"""By budget id: the lines that it counts, in the order of their time."""


def by_budget(bill: Iterable[Billed], everybodys: Sequence[Budget]) -> ByBudget:
    """Every line with each budget that counts its call."""
    found: dict[str, list[Billed]] = {}
    for each in bill:
        call = each.call
        for budget in call.tenant.budgets_of(call.key, call.target, everybodys):
            found.setdefault(budget.budget_id, []).append(each)
    return found


def billed(lines: list[dict[str, Any]], calls: Mapping[str, Call], tariff: Tariff, zero: datetime) -> list[Billed]:
    """The lines that are no refusals, in the order of their time. `zero` is the wall clock at monotonic 0."""
    found = []
    for line in lines:
        call = calls.get(line["user"])
        if call is None or line["status"] != 200:
            continue
        at = (datetime.fromisoformat(line["at"]) - zero).total_seconds()
        rates = tuple(tariff.between(line["model"], call.began, at)) if tariff.has(line["model"]) else (Rate(0, 0, 0),)
        found.append(Billed(line, call, at, rates))
    return sorted(found, key=lambda each: each.at)
