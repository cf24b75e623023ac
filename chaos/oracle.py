"""Holds the books against the world. Pure: evidence in, findings out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from chaos.alerts import alert_findings
from chaos.bill import Billed, billed, by_budget
from chaos.budgets import Budget
from chaos.calls import Call
from chaos.evidence import Evidence
from chaos.findings import Finding
from chaos.knowledge import Run
from chaos.postings import misposted
from chaos.refusals import told_wrong
from chaos.spending import overspent
from chaos.topicality import outdated

PUBLISHED_WITHIN_S: Final = 1.0
"""An event is in Kafka so long after its call was answered, if Kafka was there."""
ENDED_WITHIN_S: Final = 10.0
"""A call whose caller got no whole answer may be under way for so long after that: its provider is waited for."""


@dataclass(slots=True)
class Verdict:
    """Findings, and figures of the table that are no findings."""

    findings: list[Finding] = field(default_factory=list)
    covered: int = 0
    """Billed lines that went down with a node and are covered by what is in suspense, or had no hard budget."""
    suspended: int = 0
    """Rights in suspense: how many shares."""

    def count(self, *kinds: str) -> int:
        return sum(finding.kind in kinds for finding in self.findings)

    def amount(self, kind: str) -> int:
        return sum(finding.amount for finding in self.findings if finding.kind == kind)


def judge(run: Run, evidence: Evidence) -> Verdict:
    """Everything that must be true, one function a sentence."""
    verdict = Verdict()
    calls = {call.id: call for call in run.calls}
    bill = billed(list(evidence.bill), calls, run.tariff, run.zero)
    verdict.findings += _every_answer_is_billed(run, evidence)
    verdict.findings += _every_line_is_charged(run, evidence, bill, verdict)
    verdict.findings += _nothing_is_charged_twice(evidence)
    verdict.findings += _nothing_is_invented(evidence)
    counted = by_budget(bill, run.everybodys)
    verdict.findings += overspent(run, counted)
    verdict.findings += told_wrong(run)
    verdict.findings += misposted(run, evidence, bill)
    verdict.findings += _nothing_is_stranded(run, evidence)
    verdict.findings += alert_findings(run, evidence, counted)
    verdict.findings += outdated(run, evidence)
    verdict.findings += _poison_is_buried(run, evidence)
    if evidence.audit:
        verdict.findings.append(Finding("broken invariant", evidence.audit))
    verdict.suspended = sum(row["suspended_at"] is not None for row in evidence.held)
    return verdict


def _every_answer_is_billed(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """Or the harness does not see what it thinks it sees."""
    on_the_bill = {line["user"] for line in evidence.bill}
    for call in run.calls:
        if call.status == 200 and call.id not in on_the_bill:
            yield Finding("unbilled answer", f"{call.id} by {call.gateway} was answered, on no bill", call=call)


def _every_line_is_charged(run: Run, evidence: Evidence, bill: Sequence[Billed], verdict: Verdict) -> Iterator[Finding]:
    charges = {str(row["attempt_id"]): row for row in evidence.ledger if row["kind"] == "charge"}
    lost: list[Billed] = []
    for each in bill:
        row = charges.get(each.line["request_id"])
        if row is not None:
            yield from _is_charged_right(run, each, row, evidence)
        elif UUID(each.line["request_id"]) not in evidence.suspense:
            lost.append(each)
    room = _room_of_the_lost(run, evidence)
    for each in lost:
        if not _went_down_with_a_node(run, each.call):
            yield Finding("lost", f"{_named(each)} is not in the ledger", min(each.costs), each.call)
        elif (short := _uncovered(run, each, room)) is not None:
            why = f"{_named(each)} went down with its node, and nothing in suspense of {short} covers it"
            yield Finding("lost", why, min(each.costs), each.call)
        else:
            verdict.covered += 1


def _is_charged_right(run: Run, each: Billed, row: Any, evidence: Evidence) -> Iterator[Finding]:
    """To the nano where the usage was reported; else not below it, if a hard budget counts what was used.

    Unless the bill is above every worst case, or what is not charged is held as uncertain.
    """
    charged, call, source = row["cost_nano_usd"], each.call, evidence.source(row)
    if source == "reported" and charged not in each.costs:
        yield Finding("charged wrong", f"{_named(each)}: {charged} charged, {sorted(each.costs)} billed", call=call)
    within = min(each.costs) - each.excess(_IN_USD) // call.tenant.fx
    may_be_less = source == "estimated" and (evidence.holds_uncertain or not _is_bounded(run, call))
    if source != "reported" and charged < within and not may_be_less:
        why = f"{_named(each)}: {charged} charged ({source}), {within} billed"
        yield Finding("charged below the bill", why, within - charged, call)
    heard = run.tariff.costs_of(each.line, call.began - _HEARD_S, each.at) if run.tariff.has(call.model) else set()
    if call.billed is not None and call.billed != row["amount_nano"] and len(heard) == 1 and _hears_prices(run, call):
        yield Finding(
            "told another price", f"{_named(each)}: {call.billed} told, {row['amount_nano']} charged", call=call
        )


def _hears_prices(run: Run, call: Call) -> bool:
    """Whether the gateway was in touch with Kafka, and had been: else it may tell a price from before."""
    ways = (
        "kafka",
        "link kafka",
        f"link kafka of {call.gateway}",
        "metering",
        "metering-2",
        "postgres",
        "link postgres",
    )
    return not run.outages.disturbed(ways, call.began - _HEARD_S, call.ended)


_IN_USD: Final = Budget("", "", "money", "soft", (), {1: 0}, 0)
_HEARD_S: Final = 6.0
"""A gateway may tell a price that was in force until so long ago."""


def _is_bounded(run: Run, call: Call) -> bool:
    budgets = call.tenant.budgets_of(call.key, call.target, run.everybodys)
    return any(each.is_guaranteed(call.began) and each.measure != "requests" for each in budgets)


def _nothing_is_charged_twice(evidence: Evidence) -> Iterator[Finding]:
    charges = Counter(row["attempt_id"] for row in evidence.ledger if row["kind"] == "charge")
    for attempt, times in charges.items():
        if times > 1:
            yield Finding("charged twice", f"{attempt}: {times} charges")


def _nothing_is_invented(evidence: Evidence) -> Iterator[Finding]:
    """A charge without a line is one whose intent was written and that was not sent: guessed, or nothing."""
    lines = {line["request_id"] for line in evidence.bill}
    for row in evidence.ledger:
        if str(row["attempt_id"]) not in lines and evidence.source(row) == "reported" and row["cost_nano_usd"]:
            yield Finding("invented", f"{row['attempt_id']}: {row['cost_nano_usd']} charged, on no bill")


def _nothing_is_stranded(run: Run, evidence: Evidence) -> Iterator[Finding]:
    """After quiet, rights are held only in suspense, or by a gateway that is gone and not yet given up."""
    named = {budget.budget_id: budget for _, budget in run.budgets()}
    for row in evidence.held:
        if row["suspended_at"] is None and row["gateway_id"] not in run.gone:
            where = named.get(str(row["budget_id"]), row["budget_id"])
            yield Finding("stranded", f"{where}: {row['story']}", int(row["held"]))


def _poison_is_buried(run: Run, evidence: Evidence) -> Iterator[Finding]:
    for topic, keys in run.poisoned.items():
        for key in keys:
            if key not in evidence.dead.get(topic, set()):
                yield Finding("poison not buried", f"{key!r} of {topic} is not among its dead letters")
    for topic, buried in evidence.dead.items():
        for key in sorted(buried - set(run.poisoned.get(topic, ()))):
            yield Finding("buried alive", f"a record of {key!r} is among the dead letters of {topic}")


# What a lost node took along


def _went_down_with_a_node(run: Run, call: Call) -> bool:
    """Only a call that was under way there, or answered a moment ago, or whose event could not be published yet."""
    still_s = PUBLISHED_WITHIN_S if call.is_answered else ENDED_WITHIN_S
    ways = ("kafka", "link kafka", f"link kafka of {call.gateway}")
    return any(
        node == call.gateway
        and call.began <= lost_at
        and (call.ended >= lost_at - still_s or run.outages.disturbed(ways, call.ended, lost_at))
        for node, lost_at in run.lost_nodes
    )


def _room_of_the_lost(run: Run, evidence: Evidence) -> Counter[tuple[str, str]]:
    """By gateway and budget: what is in suspense there, or all that it holds if it is gone."""
    room: Counter[tuple[str, str]] = Counter()
    for row in evidence.held:
        if row["suspended_at"] is not None or row["gateway_id"] in run.gone:
            room[row["gateway_id"], str(row["budget_id"])] += int(row["held"])
    for release in run.releases:
        if release.is_done:
            room[release.gateway, release.budget_id] += release.amount
    return room


def _uncovered(run: Run, each: Billed, room: Counter[tuple[str, str]]) -> Budget | None:
    """The hard budget whose suspense has no room for the line; takes the room where there is."""
    call = each.call
    for budget in call.tenant.budgets_of(call.key, call.target, run.everybodys):
        if budget.is_guaranteed(call.began):
            room[call.gateway, budget.budget_id] -= each.amount(budget) - each.excess(budget)
            if room[call.gateway, budget.budget_id] < 0:
                return budget
    return None


def _named(each: Billed) -> str:
    line, call = each.line, each.call
    how = "stream" if line["stream"] else "json"
    who = f"{call.tenant.org} by {call.gateway}"
    return f"{line['user']} of {who} ({how}, {line['fault'] or 'no fault'}, {line['at'][11:23]}, {line['request_id']})"


def by_kind(findings: Iterable[Finding]) -> Mapping[str, int]:
    return Counter(finding.kind for finding in findings)
