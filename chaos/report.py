"""The table of a run, or of several, and what is wrong."""

from collections.abc import Iterable, Sequence
from statistics import quantiles
from typing import Final

from chaos.calls import Call
from chaos.figures import Figures, added
from chaos.findings import Finding
from chaos.load import PATIENCE_S, counted
from chaos.oracle import Verdict, by_kind
from chaos.run import Result

STORIES_MAX: Final = 12
BEFORE_S: Final = 6.0
"""How far back a call's story reaches."""
_BOLD: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("lost", ("lost",)),
    ("charged twice", ("charged twice",)),
    ("refused or unanswered while all was up", ("refused with all up", "unanswered with all up")),
    ("refused with room left", ("refused with room left",)),
    ("revoked keys served", ("revoked key served",)),
    ("served by a fenced gateway", ("served by a fenced gateway",)),
    ("posted to another window", ("posted to another window", "held in another window", "misdated")),
    ("alert events missed", ("missed alert event",)),
    ("alert events doubled", ("doubled alert event", "needless alert event")),
    ("mails and webhooks missed", ("missed mail", "missed webhook")),
)
"""Rows that must be zero, and the kinds of findings that they count."""
_AMOUNTS: Final = (("overspent, nano", "overspent"), ("stranded, nano", "stranded"))
_FAULT, _CALL, _ZERO, _OTHER = "fault: ", "call: ", "zero: ", "found: "
READY, ANSWERED, OTHER_READY = (
    "gateway killed → ready",
    "gateway killed → first answer",
    "other part killed → ready",
)


def figures(result: Result) -> Figures:
    """What is kept of one run."""
    calls = result.journal.calls
    counts = {f"{_FAULT}{kind}": count for kind, count in sorted(result.record.faults.items())}
    counts |= {f"{_CALL}{kind}": count for kind, count in sorted(counted(calls).items())}
    counts |= _found(result.verdict)
    counts |= {
        "faults of the provider": sum(call.fault is not None and call.status is not None for call in calls),
        "bills above the reserve": sum(call.is_answered and call.ordered_tokens > call.tokens for call in calls),
        "refused though rights were left, locked up with one that was away": len(result.journal.meter.false_while_away),
        "calls that went down with a lost node, covered by suspense": result.verdict.covered,
        "shares in suspense": result.verdict.suspended,
    }
    ready, success = _recoveries(result, is_gateway=True)
    others, _ = _recoveries(result, is_gateway=False)
    samples = {READY: ready, ANSWERED: success, OTHER_READY: others}
    faults = sum(n for kind, n in result.record.faults.items() if not kind.startswith("point "))
    told = [] if result.is_clean else [f"seed {result.order.seed}:", *stories(result)]
    return Figures(result.order.seed, faults, counts, samples, told, result.seconds)


def _found(verdict: Verdict) -> dict[str, int]:
    """The rows that must be zero, and what has no row."""
    rows = {f"{_ZERO}{row}": verdict.count(*kinds) for row, kinds in _BOLD}
    rows |= {f"{_ZERO}{row}": verdict.amount(kind) for row, kind in _AMOUNTS}
    shown = {kind for _, kinds in _BOLD for kind in kinds} | {kind for _, kind in _AMOUNTS}
    return rows | {
        f"{_OTHER}{kind}": count for kind, count in sorted(by_kind(verdict.findings).items()) if kind not in shown
    }


def table(parts: Sequence[Figures]) -> str:
    """A row a figure, as Markdown."""
    all_ = added(parts)
    rows: list[tuple[str, object]] = [("seed", ", ".join(str(part.seed) for part in parts))]
    rows.append(("faults injected", all_.faults))
    rows += _rows(all_, _FAULT, "· {}")
    rows.append(("requests", sum(count for _, count in _rows(all_, _CALL, "{}"))))
    rows += _rows(all_, _CALL, "· {}")
    rows += _rows(all_, _ZERO, "**{}**")
    rows += _rows(all_, _OTHER, "{}")
    rows += [
        (name, count) for name, count in all_.counts.items() if not name.startswith((_FAULT, _CALL, _ZERO, _OTHER))
    ]
    rows += [(f"{name}, p50 / p99, s", _spread(seconds)) for name, seconds in all_.samples.items()]
    rows.append(("duration, s", f"{all_.seconds:.0f}"))
    width = max(len(name) for name, _ in rows)
    lines = [f"| {name:{width}} | {figure!s:>12} |" for name, figure in rows]
    return "\n".join([f"| {'':{width}} | {'':>12} |", f"| {'-' * width} | {'-' * 11}: |", *lines])


def _rows(figures: Figures, prefix: str, shape: str) -> list[tuple[str, int]]:
    return [
        (shape.format(name.removeprefix(prefix)), count)
        for name, count in figures.counts.items()
        if name.startswith(prefix)
    ]


def stories(result: Result) -> list[str]:
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
    return lines


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


def _spread(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return " / ".join(f"{each:.1f}" for each in seconds) or "none"
    cuts = quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49]:.1f} / {cuts[98]:.1f}"
