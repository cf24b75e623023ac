"""Whether hard budgets held, by the bill alone: each window, at each instant, against the limits up to then. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from chaos.bill import Billed, ByBudget
from chaos.budgets import Budget
from chaos.findings import Finding
from chaos.knowledge import Run
from chaos.schedule import BUDGET, METERING
from chaos.tariff import NEVER

KNOWN_WITHIN_S: Final = 10.0
"""A bill above its reserve counts everywhere so long after its call, if nothing kept the gateway from saying so."""


LONGEST_S: Final = 60.0
"""No call is longer under way than this: calls are looked at in the order in which they came to the provider."""


def overspent(run: Run, counted: ByBudget) -> Iterator[Finding]:
    """No hard budget is billed above the highest limit it had up to then.

    Excused is the excess of a bill above its reserve, and only until the gateway had time to count it; what an
    operator released; and of calls from before a budget was guaranteed, which no share holds, what is posted late.
    """
    for _, budget in run.budgets():
        if not budget.is_ever_hard:
            continue
        bill = counted.get(budget.budget_id, ())
        for number in range(len(budget.midnights) + 1):
            inside = [each for each in bill if budget.window(each.call.began, each.at) == number]
            yield from _overspent_in(run, budget, number, inside)


def _overspent_in(run: Run, budget: Budget, number: int, bill: Sequence[Billed]) -> Iterator[Finding]:
    """The worst instant of one window, if there is a bad one."""
    total, unguaranteed, late = 0, 0, 0
    pending: list[tuple[float, int]] = []
    worst: tuple[int, Billed] | None = None
    for each in bill:
        total += each.amount(budget)
        if excess := each.excess(budget):
            pending.append((_known_at(run, each), excess))
        pending = [(known_at, of) for known_at, of in pending if known_at > each.call.began - LONGEST_S]
        if not budget.is_guaranteed(each.call.began):
            unguaranteed = total
            late += each.amount(budget) if _is_posted_late(run, each) else 0
            continue
        excused = sum(excess for known_at, excess in pending if known_at > each.call.began)
        excused += sum(
            release.amount
            for release in run.releases
            if release.is_done and release.budget_id == budget.budget_id and release.at <= each.at
        )
        over = total - excused - late - max(unguaranteed, budget.highest_limit(each.at))
        if over > 0 and (worst is None or over > worst[0]):
            worst = over, each
    if worst is not None:
        over, each = worst
        where = f"{budget}{f', window {number + 1}' if budget.midnights else ''}"
        why = f"{where}: {over} above {budget.highest_limit(each.at)}, not excused, with {each.call.id}"
        yield Finding("overspent", why, over, each.call)


def _is_posted_late(run: Run, each: Billed) -> bool:
    """Whether something kept a charge from the budget service for a while after its call."""
    ways = (
        "kafka",
        "link kafka",
        f"link kafka of {each.call.gateway}",
        each.call.gateway,
        *METERING,
        *BUDGET,
        "postgres",
    )
    return run.outages.disturbed(ways, each.call.began, each.call.ended + KNOWN_WITHIN_S)


def _known_at(run: Run, each: Billed) -> float:
    """When the excess of a bill counts everywhere; NEVER if nobody was told of it."""
    if not each.call.is_reported:
        return NEVER
    parts = (each.call.gateway, *BUDGET, "postgres", "link budget", "link postgres")
    return run.outages.calm_after(parts, each.call.ended, KNOWN_WITHIN_S)
