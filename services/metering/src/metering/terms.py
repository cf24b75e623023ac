"""The terms of a transfer: between which accounts, in which currency, at which exchange rate."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from farebox.events import RequestCompleted
from metering.interned import id_of


class Terms(NamedTuple):
    """The org owes the provider: who is billed pays whom is used. `fx_rate` is in units of `currency` a US dollar."""

    org: str
    provider: str
    currency: str
    fx_rate: Decimal
    fx_source: str
    fx_date: date

    @property
    def id(self) -> UUID:
        return id_of(*self)

    @property
    def debit_account(self) -> str:
        return f"org:{self.org}"

    @property
    def credit_account(self) -> str:
        return f"provider:{self.provider}"


def terms_of(event: RequestCompleted) -> Terms:
    """The terms that were stamped on an attempt when it was admitted."""
    billing = event.billing
    return Terms(
        event.principal.org, event.provider, billing.currency, billing.fx_rate, billing.fx_source, billing.fx_date
    )
