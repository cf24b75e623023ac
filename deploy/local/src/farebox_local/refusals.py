"""Refusals to order: a sink that says no for a while, so that retries can be seen."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Refusal(BaseModel):
    """Answer the next `times` deliveries with `status` (HTTP, or SMTP at the mail sink)."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[int, Field(ge=400, le=599)]
    times: Annotated[int, Field(ge=1)] = 1

    def take(self) -> int | None:
        """The status for this delivery; None when the refusals are used up."""
        if self.times == 0:
            return None
        self.times -= 1
        return self.status
