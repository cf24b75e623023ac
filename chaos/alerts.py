"""Whether every alert that was due was made once, and reached everybody once or more."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from chaos.evidence import Evidence, Told
from chaos.findings import Finding
from chaos.occurrences import mark_id, occurrence_findings
from chaos.tenants import Budget, Tenant
from farebox.events import ThresholdCrossed

Mark: TypeAlias = tuple[str, str, int, str]
"""Budget id, start of the window, limit revision, threshold."""


def alert_findings(tenants: Sequence[Tenant], budgets: Mapping[UUID, Budget], evidence: Evidence) -> Iterator[Finding]:
    """All sentences about alerts."""
    yield from _every_mark_has_one_event(budgets, evidence)
    yield from occurrence_findings(budgets, evidence)
    yield from _every_crossing_row_is_told(evidence)
    for tenant in tenants:
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
        if mark not in due:
            yield Finding("needless alert event", f"{_shown(budgets, mark)} was told and not reached")


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
        if spent > 0 and spent * 100 >= budgets[budget_id].limits[revision] * percent
    }


def _occurrence(told: Told) -> tuple[Mark, int]:
    """The mark of an event, and its number."""
    event = told.event
    assert isinstance(event, ThresholdCrossed)
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
