"""The table of a run."""

from collections.abc import Iterable
from statistics import quantiles
from typing import Final

from chaos.findings import Finding
from chaos.load import PATIENCE_S, Call, counted
from chaos.oracle import by_kind
from chaos.run import Result

STORIES_MAX: Final = 12
BEFORE_S: Final = 6.0
"""How far back a call's story reaches."""


def table(result: Result) -> str:
    """A row a figure, as Markdown."""
    verdict, record, meter = result.verdict, result.record, result.journal.meter
    calls = counted(result.journal.calls)
    faults = sum(n for kind, n in record.faults.items() if not kind.startswith("point "))
    ordered: dict[str, int] = {}
    for call in result.journal.calls:
        if call.fault and call.status is not None:
            ordered[call.fault] = ordered.get(call.fault, 0) + 1
    ready, success = _recoveries(result, is_gateway=True)
    others, _ = _recoveries(result, is_gateway=False)
    rows: list[tuple[str, object]] = [
        ("seed", result.order.seed),
        ("faults injected", faults),
        *((f"· {kind}", count) for kind, count in sorted(record.faults.items())),
        ("faults of the provider", sum(ordered.values())),
        ("requests", len(result.journal.calls)),
        *((f"· {kind}", count) for kind, count in sorted(calls.items())),
        ("**lost**", verdict.count("lost")),
        ("**charged twice**", verdict.count("charged twice")),
        ("**overspent, nano**", verdict.amount("overspent")),
        ("**alert events missed**", verdict.count("missed alert event")),
        ("**alert events doubled**", verdict.count("doubled alert event") + verdict.count("needless alert event")),
        ("**mails and webhooks missed**", verdict.count("missed mail") + verdict.count("missed webhook")),
        ("**stranded, nano**", verdict.amount("stranded")),
        *((kind, count) for kind, count in sorted(by_kind(verdict.findings).items()) if kind not in _SHOWN),
        ("false refusals, every holder of rights there", len(meter.false_refusals)),
        ("false refusals, rights locked up with one that was away", len(meter.false_while_away)),
        ("calls that went down with a lost node, covered by suspense", verdict.covered),
        ("leases in suspense", verdict.suspended),
        ("gateway killed → ready, p50 / p99, s", _spread(ready)),
        ("gateway killed → first answer, p50 / p99, s", _spread(success)),
        ("other part killed → ready, p50 / p99, s", _spread(others)),
        ("duration, s", f"{result.seconds:.0f}"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"| {name:{width}} | {figure!s:>12} |" for name, figure in rows]
    return "\n".join([f"| {'':{width}} | {'':>12} |", f"| {'-' * width} | {'-' * 11}: |", *lines])


_SHOWN = {
    "lost",
    "charged twice",
    "overspent",
    "missed alert event",
    "doubled alert event",
    "needless alert event",
    "missed mail",
    "missed webhook",
    "stranded",
}


def stories(result: Result) -> str:
    """What is wrong, briefly."""
    lines = [f"still not quiet: {each}" for each in result.restless]
    lines += [f"trouble: {each}" for each in result.record.troubles]
    findings = result.verdict.findings
    for kind in sorted({finding.kind for finding in findings}):
        these = [finding for finding in findings if finding.kind == kind]
        for finding in these[:STORIES_MAX]:
            lines += [f"{kind}: {finding.story}", *_faults_around(result, finding)]
        if len(these) > STORIES_MAX:
            lines.append(f"{kind}: … and {len(these) - STORIES_MAX} more")
    return "\n".join(lines)


def _faults_around(result: Result, finding: Finding) -> list[str]:
    """What happened to the system while the call was under way, and shortly before."""
    call = finding.call
    if call is None:
        return []
    told = [
        f"    {at - call.began:+6.1f} s  {fault.kind} {fault.target} {fault.detail}".rstrip()
        for at, fault in result.record.history
        if call.began - BEFORE_S <= at <= max(call.ended, call.began + PATIENCE_S)
    ]
    return [f"    a call of {call.ended - call.began:.1f} s; beside it", *told] if told else []


def _recoveries(result: Result, *, is_gateway: bool) -> tuple[list[float], list[float]]:
    """Seconds from each kill until the part was ready, and until the next call through it was answered."""
    ready, success = [], []
    for recovery in result.record.recoveries:
        if recovery.part.startswith("gateway") != is_gateway:
            continue
        if recovery.ready_at is not None:
            ready.append(recovery.ready_at - recovery.killed_at)
        first = _first_answer(result.journal.answered(), recovery.part, recovery.killed_at)
        if first is not None:
            success.append(first - recovery.killed_at)
    return ready, success


def _first_answer(calls: Iterable[Call], part: str, after: float) -> float | None:
    is_gateway = part.startswith("gateway")
    ends = [c.ended for c in calls if c.began > after and (not is_gateway or c.gateway == part)]
    return min(ends, default=None)


def _spread(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return " / ".join(f"{each:.1f}" for each in seconds) or "none"
    cuts = quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49]:.1f} / {cuts[98]:.1f}"
