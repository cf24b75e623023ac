"""Every metric of the gateway. Names and labels are an interface; no key, user or request id is a label."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

ATTEMPTS: Final = Counter("farebox_gateway_attempts", "Attempts that ended.", ["upstream", "outcome"])
REFUSED: Final = Counter("farebox_gateway_refused", "Calls refused before they were sent.", ["reason"])
BUDGET_REFUSALS: Final = Counter(
    "farebox_gateway_budget_refusals",
    "Calls refused for a budget, by whether other gateways had rights in it that they had not given back yet.",
    ["rights_elsewhere"],
)
ATTEMPT_SECONDS: Final = Histogram(
    "farebox_gateway_attempt_seconds", "From dispatch to the end of the answer.", ["upstream"], buckets=_SECONDS
)
FIRST_BYTE_SECONDS: Final = Histogram(
    "farebox_gateway_first_byte_seconds", "From dispatch to a stream's first byte.", ["upstream"], buckets=_SECONDS
)
UNDER_WAY: Final = Gauge("farebox_gateway_calls_under_way", "Model calls being answered or drained.")
RESERVE_EXCEEDED: Final = Counter(
    "farebox_gateway_reserve_exceeded", "Attempts that used more than was held for them.", ["upstream"]
)
USAGE_SOURCE: Final = Counter("farebox_gateway_usage", "Attempts by where their usage comes from.", ["source"])
UNPRICED: Final = Counter("farebox_gateway_unpriced", "Answers whose usage has no price; their reserve was kept.")
UNPRICED_MODELS: Final = Counter(
    "farebox_gateway_unpriced_models",
    "Calls refused because the model asked for has no price; the first hundred models are named, the rest is `other`.",
    ["provider", "model"],
)

RAISES: Final = Counter("farebox_gateway_raises", "Questions to the budget service.", ["answer"])
RAISE_SECONDS: Final = Histogram("farebox_gateway_raise_seconds", "Time to an answer.", buckets=_SECONDS)
SHARES: Final = Gauge("farebox_gateway_shares", "Budget windows of which this gateway holds a share.")
POLICIES: Final = Gauge("farebox_gateway_policies", "Keys whose policy is known.")
BUDGET_REACHABLE: Final = Gauge("farebox_gateway_budget_reachable", "1 while the budget service answers.")

JOURNAL_BYTES: Final = Gauge("farebox_gateway_journal_bytes", "Length of all segments.")
JOURNAL_REFUSED: Final = Counter("farebox_gateway_journal_refused", "Records the journal could not take.")
JOURNAL_DAMAGED: Final = Counter("farebox_gateway_journal_damaged", "Segments set aside because they are damaged.")
RECOVERED: Final = Counter(
    "farebox_gateway_recovered",
    "Attempts of a crashed process whose end nobody saw: charged at a guess, their reserve held.",
)

UNPUBLISHED: Final = Gauge("farebox_gateway_unpublished_events", "Events that Kafka does not have yet.")
DEAD: Final = Counter("farebox_gateway_dead_events", "Events too large for Kafka, put on the dead-letter topic.")
CATALOGUE_SKIPPED: Final = Counter(
    "farebox_gateway_broadcast_skipped",
    "Records of the compacted topics that were not understood.",
    ["topic", "reason"],
)
CATALOGUE_AS_OF: Final = Gauge(
    "farebox_gateway_catalogue_as_of_timestamp_seconds", "Instant as of which prices are known; 0 before the first."
)
