"""Every metric of metering. Names and labels are an interface."""

from typing import Final

from prometheus_client import Counter, Gauge

ENTRIES: Final = Counter("farebox_metering_entries", "Entries written to the ledger.")
DUPLICATES: Final = Counter("farebox_metering_duplicates", "Attempts that were in the ledger or in suspense already.")
SUSPENSE: Final = Counter("farebox_metering_suspense", "Attempts put into suspense.", ["reason"])
SUSPENSE_OPEN: Final = Gauge("farebox_metering_suspense_open", "Attempts waiting for a price.", ["reason"])
SETTLED: Final = Counter("farebox_metering_settled", "Suspended attempts that have been priced.")
CORRECTIONS: Final = Counter("farebox_metering_corrections", "Corrections written to the ledger.")
UNKNOWN_MODELS: Final = Gauge(
    "farebox_metering_unknown_models",
    "Models that answered and have no price: their calls are charged as the model that was asked for.",
)
INVARIANT_VIOLATIONS: Final = Gauge(
    "farebox_metering_invariant_violations", "Rows that break a sentence that must always be true.", ["invariant"]
)
REPRICED: Final = Counter("farebox_metering_repriced_batches", "Batches priced again because prices had changed.")
PRICE_REVISION: Final = Gauge("farebox_metering_price_revision", "Revision of the price overrides in use.")
REDATED: Final = Counter(
    "farebox_metering_redated", "Attempts dated by the books, because the clock of their gateway was off."
)
