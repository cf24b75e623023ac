"""`python -m metering.invariants`: hold ledger, suspense and rollups against each other, at rest or at work."""

from typing import Final

from farebox.invariants import main
from farebox.postgres import Queries
from metering.settings import Settings

QUERIES: Final = Queries.load("metering")

if __name__ == "__main__":
    main("metering", Settings, QUERIES)
