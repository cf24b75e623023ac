"""Whether every alert that was due was made once, and reached everybody once or more."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from chaos.bill import Billed, ByBudget
from chaos.budgets import Budget
from chaos.evidence import Evidence, Told
from chaos.findings import Finding
from chaos.knowledge import Run
from chaos.occurrences import mark_id, occurrence_findings
from chaos.tenants import Tenant
from farebox.events import BudgetEvent, ThresholdCrossed, ThresholdResolved

Mark: TypeAlias = tuple[str, str, int, str]
"""Budget id, start of the window, limit revision, threshold."""


def alert_findings(run: Run, evidence: Evidence, counted: ByBudget) -> Iterator[Finding]:
    """All sentences about alerts."""
    budgets = {UUID(budget.budget_id): budget for _, budget in run.budgets()}
    yield from _every_mark_has_one_event(budgets, evidence)
    yield from occurrence_findings(budgets, evidence)
    yield from _the_last_word_is_the_bills(run, evidence, counted)
    yield from _every_crossing_row_is_told(evidence)
    for tenant in run.tenants:
        yield from _mail_reached(tenant, evidence)
        yield from _webhooks_reached(tenant, evidence)


def _every_mark_has_one_event(budgets: Mapping[UUID, Budget], evidence: Evidence) -> Iterator[Finding]:
    """Exactly the thresholds that posted history reached, each occurrence once."""
    seen = Counter(_occurrence(told) for told in evidence.events if isinstance(told.event, ThresholdCrossed))
    due = _due(budgets, evidence)
    for mark in sorted(due - {mark for mark, _ in seen}):
        yield Finding("missed alert event", f"{_shown(budgets, mark)} was reached and is not on budget.events")
    for (mark, occurrence), times in sorted(seen.items()):
        if times > 1:
            yield Finding("doubled alert event", f"{_shown(budgets, mark)}, {occurrence}: {times} events")
        if mark not in due and not budgets[UUID(mark[0])].is_switched:
            yield Finding("needless alert event", f"{_shown(budgets, mark)} was told and not reached")


def _the_last_word_is_the_bills(run: Run, evidence: Evidence, counted: ByBudget) -> Iterator[Finding]:
    """What subscribers heard last of a mark is what the bill says of it, whatever our own balances do.

    Unreported usage is charged at a guess, so between the least and the most that may be charged either is right.
    """
    last = _last_words(evidence)
    unbilled = _unbilled(run, evidence)
    budgets = {UUID(budget.budget_id): budget for _, budget in run.budgets()}
    for row in evidence.windows:
        budget = budgets.get(row["budget_id"])
        if budget is None or budget.is_switched or row["limit_revision"] not in budget.limits:
            continue
        number = budget.window_from(run.seconds(row["window_start"]))
        least, most = _spent(budget, number, counted.get(budget.budget_id, ()))
        most += unbilled[budget.budget_id] + int(row["suspended"])
        limit = budget.limits[row["limit_revision"]]
        for percent in budget.thresholds:
            mark = (budget.budget_id, row["window_start"].isoformat(), row["limit_revision"], f"percent:{percent}")
            is_told, reached_at = last.get(mark) is ThresholdCrossed, limit * percent
            if least and least * 100 >= reached_at and not is_told:
                yield Finding(
                    "missed alert event", f"{percent} % of {budget} is billed, and was not told last: {least}"
                )
            if is_told and most * 100 < reached_at:
                yield Finding(
                    "needless alert event", f"{percent} % of {budget} was told last, and {most} billed at most"
                )


def _last_words(evidence: Evidence) -> Mapping[Mark, type[BudgetEvent]]:
    """By mark: whether it was crossed or resolved last."""
    told = [each for each in evidence.events if isinstance(each.event, ThresholdCrossed | ThresholdResolved)]
    return {
        _occurrence(each)[0]: type(each.event) for each in sorted(told, key=lambda each: each.event.budget.revision)
    }


def _spent(budget: Budget, number: int, bill: Sequence[Billed]) -> tuple[int, int]:
    """The least and the most that may be charged to a window by the bill."""
    least, most = 0, 0
    for each in bill:
        window = budget.window(each.call.began, each.at)
        if window in (None, number):
            most += each.most(budget)
        if window == number and each.call.is_reported:
            least += each.amount(budget)
    return least, most


def _unbilled(run: Run, evidence: Evidence) -> Counter[str]:
    """By budget: what may be charged for calls that were never sent."""
    on_the_bill = {line["request_id"] for line in evidence.bill}
    found: Counter[str] = Counter()
    for row in evidence.ledger:
        event = evidence.priced.get(row["entry_id"])
        if event is None or str(row["attempt_id"]) in on_the_bill:
            continue
        amounts = {"money": row["amount_nano"], "requests": event.requests, "tokens": event.tokens}
        for _, budget in run.budgets():
            if budget.account in event.principal.path():
                found[budget.budget_id] += amounts[budget.measure]
    return found


def _due(budgets: Mapping[UUID, Budget], evidence: Evidence) -> set[Mark]:
    """By the most that was spent under each revision of a limit, as the balances and the books tell."""
    most: dict[tuple[UUID, str, int], int] = {}

    def note(budget_id: UUID, start: object, revision: int, spent: int) -> None:
        key = (budget_id, str(start), revision)
        most[key] = max(most.get(key, 0), spent)

    for balance in evidence.balances:
        state = balance.budget
        note(state.budget_id, state.window.start.isoformat(), state.limit_revision, state.spent)
    for row in evidence.windows:
        spent = int(row["posted"] + row["suspended"])
        note(row["budget_id"], row["window_start"].isoformat(), row["limit_revision"], spent)
    return {
        (str(budget_id), start, revision, f"percent:{percent}")
        for (budget_id, start, revision), spent in most.items()
        for percent in budgets[budget_id].thresholds
        if not budgets[budget_id].is_switched  # while it is paused it tells nothing
        if spent > 0 and spent * 100 >= budgets[budget_id].limits[revision] * percent
    }


def _occurrence(told: Told) -> tuple[Mark, int]:
    """The mark of an event, and its number."""
    event = told.event
    assert isinstance(event, ThresholdCrossed | ThresholdResolved)
    state = event.budget
    mark = str(state.budget_id), state.window.start.isoformat(), state.limit_revision, mark_id(event.threshold)
    return mark, event.occurrence


def _every_crossing_row_is_told(evidence: Evidence) -> Iterator[Finding]:
    ids = {told.id for told in evidence.events}
    for row in evidence.crossings:
        if str(row["event_id"]) not in ids:
            why = f"{row['mark']} of {row['budget_id']}, revision {row['limit_revision']}: its event is on no topic"
            yield Finding("missed alert event", why)


def _mail_reached(tenant: Tenant, evidence: Evidence) -> Iterator[Finding]:
    """Every alert meant for people, on every mail channel of its path, under one id."""
    received = set(evidence.mails)
    rows: dict[tuple[str, str], list[str]] = {}
    for row in evidence.deliveries:
        if row["kind"] == "email":
            rows.setdefault((str(row["event_id"]), row["account"]), []).append(str(row["delivery_id"]))
    for account, address in tenant.mailboxes:
        for told in evidence.events:
            if account not in told.event.budget.path or not told.event.notify_people:
                continue
            deliveries = rows.get((told.id, account), [])
            if len(deliveries) > 1:
                yield Finding("doubled mail", f"{told.event.type} {told.id} to {address}: {len(deliveries)} deliveries")
            if not received.intersection(deliveries):
                yield Finding("missed mail", f"{told.event.type} {told.id} never came to {address}")


def _webhooks_reached(tenant: Tenant, evidence: Evidence) -> Iterator[Finding]:
    for account, name in tenant.hooks:
        due = {told.id for told in evidence.events if account in told.event.budget.path}
        came = evidence.hooks.get(name, ())
        for missing in sorted(due - {id_ for id_, _ in came}):
            yield Finding("missed webhook", f"{missing} never came to {name}")
        for id_, verified in came:
            if not verified:
                yield Finding("unsigned webhook", f"{id_} to {name}")
            if id_ not in due:
                yield Finding("needless webhook", f"{id_} to {name} is no event")


def _shown(budgets: Mapping[UUID, Budget], mark: Mark) -> str:
    budget_id, start, revision, threshold = mark
    budget = budgets[UUID(budget_id)]
    return f"{threshold} of {budget.account} ({budget.mode} {budget.measure}, from {start[:10]}, revision {revision})"
