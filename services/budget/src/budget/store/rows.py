"""Rows as people are shown them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SuspendedShare:
    """What a lost gateway holds of one budget window: what nobody knows to be unspent."""

    gateway_id: str
    epoch: int
    suspended_at: datetime
    budget_id: UUID
    budget_name: str
    account_id: str
    currency: str | None
    window_start: datetime
    held: int


@dataclass(frozen=True, slots=True)
class OpenUncertain:
    """What a provider may have billed for an attempt beyond its charge, as one budget window counts it."""

    attempt_id: UUID
    budget_id: UUID
    budget_name: str
    account_id: str
    currency: str | None
    window_start: datetime
    amount: int
    noted_at: datetime
