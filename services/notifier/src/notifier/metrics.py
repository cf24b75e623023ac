"""Every metric of the notifier. Names and labels are an interface."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ALERTS: Final = Counter("farebox_notifier_alerts", "Alerts taken up, each once.", ["type"])
DUPLICATES: Final = Counter("farebox_notifier_duplicate_alerts", "Alerts that had been taken up before.")
DELIVERIES: Final = Counter(
    "farebox_notifier_deliveries", "Deliveries that ended: delivered or failed.", ["kind", "outcome"]
)
ATTEMPTS: Final = Counter("farebox_notifier_attempts", "Attempts by what they came to.", ["kind", "verdict"])
ATTEMPT_SECONDS: Final = Histogram(
    "farebox_notifier_attempt_seconds",
    "Time one attempt took.",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60),
)
FIRST_ATTEMPT_SECONDS: Final = Histogram(
    "farebox_notifier_first_attempt_delay_seconds",
    "From the event's time to the first attempt at delivering it.",
    ["kind"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)
IN_FLIGHT: Final = Gauge("farebox_notifier_attempts_in_flight", "Attempts under way in this process.", ["kind"])
OVERTAKEN: Final = Counter(
    "farebox_notifier_overtaken_attempts", "Attempts whose delivery another replica had taken over when they ended."
)
BACKLOG: Final = Gauge(
    "farebox_notifier_due_deliveries",
    "Deliveries of active channels that are due and not claimed. The same on every replica.",
    ["kind"],
)
OLDEST_DUE_SECONDS: Final = Gauge(
    "farebox_notifier_oldest_due_seconds",
    "How long the oldest of them has been due. The same on every replica.",
    ["kind"],
)
CHANNELS_DISABLED: Final = Counter(
    "farebox_notifier_channels_disabled", "Channels disabled because the receiver is gone."
)
STORE_FAILURES: Final = Counter(
    "farebox_notifier_store_failures", "Statements of the worker that PostgreSQL did not take."
)
