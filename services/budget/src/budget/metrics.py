"""All metrics of the budget service. Names are stable; no label holds a key, user, budget or request id."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from farebox.events import UsagePriced

POSTED: Final = Counter("farebox_budget_postings", "Ledger entries posted to budgets.", ["kind"])
DUPLICATES: Final = Counter("farebox_budget_duplicate_entries", "Ledger entries seen before, and not posted again.")
SUSPENDED: Final = Counter(
    "farebox_budget_suspended_entries", "Calls announced without a price; they post when it comes."
)
RESERVE_EXCEEDED: Final = Counter(
    "farebox_budget_reserve_exceeded", "Charges above the reserve of their request: the guarantee's proviso is broken."
)
LEASES_SUSPENDED: Final = Counter(
    "farebox_budget_leases_suspended", "Leases put into suspense because their gateway was lost."
)
INVARIANT_VIOLATIONS: Final = Gauge(
    "farebox_budget_invariant_violations", "Rows that break a sentence that must always be true.", ["invariant"]
)
MARKS: Final = Counter("farebox_budget_marks", "Thresholds, exhaustions and overruns announced.")
GRANTS: Final = Counter("farebox_budget_grants", "Lease requests by answer.", ["answer"])
REFUSALS: Final = Counter(
    "farebox_budget_refusals",
    "Lease requests refused, by what stood in the way: what is spent, what is suspended, or only what leases hold.",
    ["standing_in_the_way"],
)
POSTING_LAG: Final = Gauge("farebox_budget_posting_lag_seconds", "From pricing to posting, of the newest entry posted.")
GRANT_SECONDS: Final = Histogram(
    "farebox_budget_grant_seconds",
    "Time to answer a lease request.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


def observe_postings(entries: Sequence[UsagePriced], *, lag_s: float) -> None:
    """Count a batch that is about to commit. `lag_s` is that of its newest entry."""
    for kind in ("charge", "correction"):
        POSTED.labels(kind).inc(sum(entry.kind == kind for entry in entries))
    RESERVE_EXCEEDED.inc(sum(_exceeds(entry) for entry in entries))
    POSTING_LAG.set(max(0.0, lag_s))


def _exceeds(entry: UsagePriced) -> bool:
    return entry.lease is not None and (entry.billed_nano or 0) > entry.lease.reserve_nano
