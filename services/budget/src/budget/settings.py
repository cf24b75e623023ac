"""Settings of the budget service: those of every service with a database, and nothing of its own yet."""

from farebox.settings import StoreSettings


class BudgetSettings(StoreSettings):
    """Read from `FAREBOX_*` variables."""
