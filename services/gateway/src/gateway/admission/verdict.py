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
    """The right to send a call once. `hold` is None where no hard budget applies; `at` chooses the price.

    `output_limit`, `service_tier` and `search_uses` are what is sent in the place of what the caller states, or leaves
    out; None where its own words stand. `moves_limit`: its limit is sent in the field that the model takes, because it
    may not know the other.
    """

    call: Call
    upstream: Upstream
    admitted: Admitted
    key_policy: KeyPolicy
    rates: Rates
    estimate: Estimate
    hold: Hold | None
    at: datetime
    output_limit: int | None = None
    service_tier: str | None = None
    search_uses: int | None = None
    moves_limit: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not. `budget` is the one that is short; `known` is None where the key's policy could not be had.

    `in_hand` is what this gateway has of that budget and no call holds: too little for the call, but not gone.
    `required` is the least that the call can do with, in the budget's measure.
    `model` is the one that is refused, where the call names several.
    """

    reason: Reason
    key_policy: KeyPolicy | None = None
    budget: Budget | None = None
    detail: str = ""
    in_hand: int = 0
    required: int | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Short:
    """Shares in hand cannot carry the call: its path, and the most and the least it can do with."""

    path: Path
    need: Estimate
    least: Estimate
