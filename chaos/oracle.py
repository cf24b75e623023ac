"""Holds the books against the world. Pure: evidence in, findings out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from chaos.alerts import alert_findings
from chaos.evidence import Evidence, budgets_of
from chaos.findings import Finding
from chaos.load import Call
from chaos.tariff import Tariff
from chaos.tenants import Budget, Tenant

REMEMBERED: Final = timedelta(seconds=90)
"""A lost gateway takes along at most what it had not published for so long: calls under way, and Kafka's absence."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the harness itself knows of a run."""

    tenants: Sequence[Tenant]
    everybodys: Sequence[Budget]
    calls: Sequence[Call]
    tariff: Tariff
    lost_nodes: Sequence[tuple[str, datetime]]
    gone: frozenset[str]
    poisoned: Mapping[str, Sequence[bytes]]


@dataclass(slots=True)
class Verdict:
    """Findings, and figures of the table that are no findings."""

    findings: list[Finding] = field(default_factory=list)
    covered: int = 0
    """Billed lines that went down with a node and are covered by what is in suspense, or had no hard budget."""
    suspended: int = 0
    """Leases in suspense."""

    def count(self, kind: str) -> int:
        return sum(finding.kind == kind for finding in self.findings)

    def amount(self, kind: str) -> int:
        return sum(finding.amount for finding in self.findings if finding.kind == kind)


def judge(run: Run, evidence: Evidence) -> Verdict:
    """Everything that must be true, one function a sentence."""
    verdict = Verdict()
    lines = {line["request_id"]: line for line in evidence.bill}
    verdict.findings += _every_answer_is_billed(run, evidence)
    verdict.findings += _every_line_is_charged(run, evidence, verdict)
    verdict.findings += _nothing_is_charged_twice(evidence)
    verdict.findings += _nothing_is_invented(evidence, lines)
    verdict.findings += _no_bill_is_above_a_hard_limit(run, evidence)
    verdict.findings += _postings_are_the_ledger(run, evidence)
    verdict.findings += _nothing_is_stranded(run, evidence)
    verdict.findings += alert_findings(run.tenants, budgets_of(run.tenants, run.everybodys), evidence)
    verdict.findings += _poison_is_buried(run, evidence)
    if evidence.audit:
        verdict.findings.append(Finding("broken invariant", evidence.audit))
    verdict.suspended = sum(row["suspended_at"] is not None for row in evidence.held)
    return verdict


def _every_answer_is_billed(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """Or the harness does not see what it thinks it sees."""
    billed = {line["user"] for line in evidence.bill}
    for call in run.calls:
        if call.status == 200 and call.id not in billed:
            yield Finding("unbilled answer", f"{call.id} by {call.gateway} was answered, on no bill", call=call)


def _every_line_is_charged(run: Run, evidence: Evidence, verdict: Verdict) -> Iterator[Finding]:
    charges = {str(row["attempt_id"]): row for row in evidence.ledger if row["kind"] == "charge"}
    calls = {call.id: call for call in run.calls}
    lost: list[tuple[Call, dict[str, Any]]] = []
    for line in evidence.bill:
        row = charges.get(line["request_id"])
        if row is not None:
            yield from _is_charged_right(run, line, row, evidence.source(row), calls.get(line["user"]))
        elif UUID(line["request_id"]) not in evidence.suspense:
            lost.append((calls[line["user"]], line))
    room = _room_of_the_lost(run, evidence)
    for call, line in lost:
        if not _went_down_with_a_node(run, call, line):
            yield Finding("lost", f"{_named(line, call)} is not in the ledger", _cost(run.tariff, line), call)
        elif (short := _uncovered(run, call, line, room)) is not None:
            why = f"{_named(line, call)} went down with its node, and nothing in suspense of {short} covers it"
            yield Finding("lost", why, _cost(run.tariff, line), call)
        else:
            verdict.covered += 1


def _is_charged_right(run: Run, line: dict[str, Any], row: Any, source: str, call: Call | None) -> Iterator[Finding]:
    """To the nano where the usage was reported; else not below it, if a hard budget counts what was used."""
    costs = run.tariff.costs_of(line) if line["status"] == 200 else {0}
    charged = row["cost_nano_usd"]
    if source == "reported" and charged not in costs:
        yield Finding("charged wrong", f"{_named(line, call)}: {charged} charged, {sorted(costs)} billed", call=call)
    elif charged < min(costs) and not (source == "estimated" and call is not None and not _is_bounded(run, call)):
        why = f"{_named(line, call)}: {charged} charged ({source}), {min(costs)} billed"
        yield Finding("charged below the bill", why, min(costs) - charged, call)
    if call is not None and call.billed is not None and call.billed != row["amount_nano"] and len(costs) == 1:
        why = f"{_named(line, call)}: {call.billed} told, {row['amount_nano']} charged"
        yield Finding("told another price", why, call=call)


def _is_bounded(run: Run, call: Call) -> bool:
    budgets = call.tenant.budgets_of(call.key, list(run.everybodys))
    return any(budget.is_hard and budget.measure != "requests" for budget in budgets)


def _nothing_is_charged_twice(evidence: Evidence) -> Iterator[Finding]:
    charges = Counter(row["attempt_id"] for row in evidence.ledger if row["kind"] == "charge")
    for attempt, times in charges.items():
        if times > 1:
            yield Finding("charged twice", f"{attempt}: {times} charges")


def _nothing_is_invented(evidence: Evidence, lines: Mapping[str, Any]) -> Iterator[Finding]:
    """A charge without a line is one whose intent was written and that was not sent: worst case, or nothing."""
    for row in evidence.ledger:
        if str(row["attempt_id"]) not in lines and evidence.source(row) != "worst_case" and row["cost_nano_usd"]:
            yield Finding("invented", f"{row['attempt_id']}: {row['cost_nano_usd']} charged, on no bill")


def _no_bill_is_above_a_hard_limit(run: Run, evidence: Evidence) -> Iterator[Finding]:
    calls = {call.id: call for call in run.calls}
    billed: Counter[str] = Counter()
    for line in evidence.bill:
        if line["status"] == 200:
            call = calls[line["user"]]
            for budget in call.tenant.budgets_of(call.key, list(run.everybodys)):
                billed[budget.budget_id] += _amount(run.tariff, line, call.tenant, budget)
    windows = Counter(str(row["budget_id"]) for row in evidence.windows)
    for budget_id, budget in budgets_of(run.tenants, run.everybodys).items():
        highest = max(budget.limits.values()) * max(1, windows[str(budget_id)])
        if budget.is_hard and billed[str(budget_id)] > highest:
            over = billed[str(budget_id)] - highest
            yield Finding("overspent", f"{budget.account} ({budget.measure}): {over} above {highest}", over)


def _postings_are_the_ledger(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """Σ ledger = Σ posted, for every budget; and budget heard of every entry."""
    for row in evidence.ledger:
        if row["entry_id"] not in evidence.priced:
            yield Finding("not announced", f"entry {row['entry_id']} is on no usage.priced")
    posted: Counter[UUID] = Counter()
    for row in evidence.windows:
        posted[row["budget_id"]] += int(row["posted"])
    amounts = {row["entry_id"]: row["amount_nano"] for row in evidence.ledger}
    due: Counter[UUID] = Counter()
    budgets = budgets_of(run.tenants, run.everybodys)
    by_account: dict[str, list[UUID]] = {}
    for budget_id, budget in budgets.items():
        by_account.setdefault(budget.account, []).append(budget_id)
    for entry_id, event in evidence.priced.items():
        for account in event.principal.path():
            for budget_id in by_account.get(account, ()):
                measure = budgets[budget_id].measure
                figures = {"money": amounts.get(entry_id, 0), "requests": event.requests, "tokens": event.tokens}
                due[budget_id] += figures[measure]
    for budget_id, budget in budgets.items():
        if posted[budget_id] != due[budget_id]:
            more = posted[budget_id] - due[budget_id]
            kind = "charged twice" if more > 0 else "not posted"
            why = f"{budget.account} ({budget.measure}): {posted[budget_id]} posted, {due[budget_id]} in the ledger"
            yield Finding(kind, why, abs(more))


def _nothing_is_stranded(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """After quiet, rights are held only by leases in suspense, or of a gateway that is gone and not yet given up."""
    named = budgets_of(run.tenants, run.everybodys)
    for row in evidence.held:
        if row["suspended_at"] is None and row["gateway_id"] not in run.gone:
            budget = named.get(row["budget_id"])
            where = f"{budget.account} ({budget.measure})" if budget else str(row["budget_id"])
            why = (
                f"{where}: lease {row['lease_id']} of {row['gateway_id']}, epoch {row['epoch']} of {row['newest']}: "
                f"granted {row['granted']}, returned {row['returned']}, posted {row['posted']}"
            )
            yield Finding("stranded", why, int(row["held"]))


def _poison_is_buried(run: Run, evidence: Evidence) -> Iterator[Finding]:
    for topic, keys in run.poisoned.items():
        for key in keys:
            if key not in evidence.dead.get(topic, set()):
                yield Finding("poison not buried", f"{key!r} of {topic} is not among its dead letters")
    for topic, buried in evidence.dead.items():
        for key in sorted(buried - set(run.poisoned.get(topic, ()))):
            yield Finding("buried alive", f"a record of {key!r} is among the dead letters of {topic}")


# What a lost node took along


def _went_down_with_a_node(run: Run, call: Call, line: dict[str, Any]) -> bool:
    at = datetime.fromisoformat(line["at"])
    return any(
        node == call.gateway and lost_at - REMEMBERED <= at <= lost_at + timedelta(seconds=1)
        for node, lost_at in run.lost_nodes
    )


def _room_of_the_lost(run: Run, evidence: Evidence) -> Counter[tuple[str, str]]:
    """By gateway and budget: what its leases in suspense hold, or its own if it is gone."""
    room: Counter[tuple[str, str]] = Counter()
    for row in evidence.held:
        if row["suspended_at"] is not None or row["gateway_id"] in run.gone:
            room[row["gateway_id"], str(row["budget_id"])] += int(row["held"])
    return room


def _uncovered(run: Run, call: Call, line: dict[str, Any], room: Counter[tuple[str, str]]) -> str | None:
    """The hard budget whose suspense has no room for the line; takes the room where there is."""
    hard = [b for b in call.tenant.budgets_of(call.key, list(run.everybodys)) if b.is_hard]
    for budget in hard:
        room[call.gateway, budget.budget_id] -= _amount(run.tariff, line, call.tenant, budget)
        if room[call.gateway, budget.budget_id] < 0:
            return f"{budget.account} ({budget.measure})"
    return None


def _amount(tariff: Tariff, line: dict[str, Any], tenant: Tenant, budget: Budget) -> int:
    """What a line comes to in a budget's measure."""
    if line["status"] != 200:
        return 0
    match budget.measure:
        case "requests":
            return 1
        case "tokens":
            return int(line["prompt_tokens"] + line["completion_tokens"])
        case _:
            return min(tariff.costs_of(line)) * tenant.fx


def _cost(tariff: Tariff, line: dict[str, Any]) -> int:
    return min(tariff.costs_of(line)) if line["status"] == 200 else 0


def _named(line: dict[str, Any], call: Call | None) -> str:
    how = "stream" if line["stream"] else "json"
    who = f"{call.tenant.org} by {call.gateway}" if call else "nobody's"
    return f"{line['user']} of {who} ({how}, {line['fault'] or 'no fault'}, {line['at'][11:23]}, {line['request_id']})"


def by_kind(findings: Iterable[Finding]) -> dict[str, int]:
    return dict(Counter(finding.kind for finding in findings))
