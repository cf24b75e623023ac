"""What admission decides of a call: the right to send it once, or why not. Values only."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from farebox.matching import Admitted
from farebox.pricing import Rates
from gateway.admission.estimate import Estimate, Reason
from gateway.dialects.call import Call
from gateway.policy.policies import Budget, KeyPolicy
from gateway.shares.shares import Hold, Path
from gateway.upstreams.directory import Upstream


class Reservation(NamedTuple):
    """The right to send a call once. `hold` is None where no hard budget applies; `at` chooses the price."""

    call: Call
    upstream: Upstream
    admitted: Admitted
    key_policy: KeyPolicy
    rates: Rates
    estimate: Estimate
    hold: Hold | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not. `budget` is the one that is short; `known` is None where the key's policy could not be had.

    `in_hand` is what this gateway has of that budget and no call holds: too little for the call, but not gone.
    """

    reason: Reason
    key_policy: KeyPolicy | None = None
    budget: Budget | None = None
    detail: str = ""
    in_hand: int = 0


@dataclass(frozen=True, slots=True)
class Short:
    """Shares in hand cannot carry the call: its path, and the most and the least it can do with."""

    path: Path
    need: Estimate
    least: Estimate
