"""Settings of the budget service."""

from typing import Annotated

from pydantic import Field

from farebox.settings import StoreSettings


class BudgetSettings(StoreSettings):
    """Read from `FAREBOX_*` variables."""

    gateway_lost_after_s: Annotated[int, Field(ge=30, le=86_400)] = Field(
        default=600, description="Silence after which a gateway counts as lost, and its shares as spent."
    )
    longest_call_s: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=3600,
        description="The longest `timeout_s` of any upstream: so long, and five minutes, a lost gateway must have been "
        "silent before its shares can be released.",
    )
