"""All metrics of the budget service. Names are stable; no label holds a key, user, budget or request id."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from budget.posting.entries import Entry, is_any

POSTED: Final = Counter("farebox_budget_postings", "Ledger entries posted to budgets.", ["kind"])
DUPLICATES: Final = Counter("farebox_budget_duplicate_entries", "Ledger entries seen before, and not posted again.")
SUSPENDED: Final = Counter(
    "farebox_budget_suspended_entries", "Calls announced without a price; they post when it comes."
)
SHARES_SUSPENDED: Final = Counter(
    "farebox_budget_shares_suspended", "Shares put into suspense because their gateway was lost."
)
FOREIGN: Final = Counter(
    "farebox_budget_foreign_currency_parts",
    "Parts of ledger entries left out of a budget that counts in another currency and did not hold the call.",
)
UNCERTAIN: Final = Counter(
    "farebox_budget_uncertain_entries", "Ledger entries of calls whose provider may have billed beyond the charge."
)
UNCERTAIN_FREED: Final = Counter(
    "farebox_budget_uncertain_freed",
    "Uncertain amounts that stopped counting because their account keeps them for so long only: outside the guarantee.",
    ["measure"],
)
UNCERTAIN_FREED_AMOUNT: Final = Counter(
    "farebox_budget_uncertain_freed_amount",
    "The same in nano-units of the currency, in calls or in tokens.",
    ["measure", "currency"],
)
INVARIANT_VIOLATIONS: Final = Gauge(
    "farebox_budget_invariant_violations", "Rows that break a sentence that must always be true.", ["invariant"]
)
MARKS: Final = Counter("farebox_budget_marks", "Thresholds, exhaustions and overruns announced.")
RAISES: Final = Counter("farebox_budget_raises", "Asks of gateways by answer.", ["answer"])
REFUSALS: Final = Counter(
    "farebox_budget_refusals",
    "Raises refused, by what stood in the way: what is spent, what is suspended, or only what shares hold.",
    ["standing_in_the_way"],
)
POSTING_LAG: Final = Gauge("farebox_budget_posting_lag_seconds", "From pricing to posting, of the newest entry posted.")
RAISE_SECONDS: Final = Histogram(
    "farebox_budget_raise_seconds",
    "Time to answer the asks of one message.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


def observe_postings(entries: Sequence[Entry], *, lag_s: float) -> None:
    """Count a batch that is about to commit. `lag_s` is that of its newest entry."""
    corrections = uncertain = 0
    for entry in entries:
        corrections += entry.kind == "correction"
        uncertain += entry.held is not None and is_any(entry.held.uncertain)
    POSTED.labels("charge").inc(len(entries) - corrections)
    POSTED.labels("correction").inc(corrections)
    UNCERTAIN.inc(uncertain)
    POSTING_LAG.set(max(0.0, lag_s))
