"""What usage is counted by."""

from typing import NamedTuple
from uuid import UUID

from farebox.events import RequestCompleted
from metering.interned import id_of


class Dimension(NamedTuple):
    """One combination that occurred. Sums in different currencies never meet in one of them."""

    org: str
    team: str | None
    user: str | None
    key: str
    feature: str | None
    provider: str
    model: str
    currency: str

    @property
    def id(self) -> UUID:
        return id_of(*self)


def dimension_of(event: RequestCompleted) -> Dimension:
    """The dimension an attempt counts in: the model is the one that served it."""
    who = event.principal
    return Dimension(
        who.org,
        who.team,
        who.user,
        who.key,
        event.feature,
        event.provider,
        event.served_model,
        event.billing.currency,
    )
