"""How old the prices known here are, and for which instants they are fit. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class CatalogueAge:
    """What metering said last: every price added before `as_of` is known here, and a raise takes `lead` to take effect.

    So for a call priced at an instant before `as_of` + `lead` every raise in force is known, whatever clock that
    instant is by: metering prices the call at the same one. An instant more than `lead` before `as_of` cannot be
    right, and would be priced at what was.
    """

    revision: int
    as_of: datetime
    lead: timedelta

    def is_ahead_of(self, at: datetime) -> bool:
        """Whether a clock that shows this instant must be wrong: the books' has shown a later one."""
        return at < self.as_of - self.lead

    def fault(self, at: datetime) -> str | None:
        """Why a call of this instant must not be held by these prices; None if it may."""
        if self.as_of - self.lead <= at < self.as_of + self.lead:
            return None
        said = f"Prices here are as of {self.as_of.isoformat()} and the clock says {at.isoformat()}"
        seconds = f"{self.lead.total_seconds():g} s"
        if at < self.as_of:
            return f"{said}: this machine's clock is more than {seconds} behind the books'."
        return f"{said}: either no newer ones were heard for {seconds}, or this machine's clock is ahead of the books'."
