"""What metering is told by its environment."""

from typing import Annotated

from pydantic import Field

from farebox.settings import StoreSettings


class Settings(StoreSettings):
    """Every variable of the service; README.md has them as a table."""

    retention_days: Annotated[int, Field(ge=31, le=3660)] = Field(
        default=90,
        description="Attempts that say they were made longer ago are dated when they are heard of: a clock is off.",
    )
    batch_records_max: Annotated[int, Field(ge=1, le=20_000)] = Field(
        default=2_000, description="Records in one batch, which is one transaction."
    )
    consumers: Annotated[int, Field(ge=1, le=8)] = Field(
        default=2,
        description="Members of the consumer group in this process: one reads while another waits for the database.",
    )
    price_lead_s: Annotated[int, Field(ge=10, le=43_200)] = Field(
        default=900,
        description="A raise of a price takes effect so long after it is made; "
        "gateways refuse calls under hard budgets when they have heard of no prices for so long.",
    )
