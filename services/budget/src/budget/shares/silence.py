"""How long gateways have been silent, as this process has witnessed it. Pure; instants are on its monotonic clock.

No wall clock decides that a gateway is lost, this machine's no more than another's. What the books say of its last sign
of life is compared with what they said before, for being the same.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

LOOK_EVERY_S: Final = 30.0

GatewayEpoch: TypeAlias = tuple[str, int]

Sign: TypeAlias = datetime | None
"""When an epoch was last heard of by PostgreSQL's clock; None for one that is over and can give no other. Any other
instant is a new sign, earlier or later."""


class SilenceWatch:
    """By gateway and epoch. Begins anew with the process: what nobody witnessed does not count."""

    def __init__(self) -> None:
        self._silent: dict[GatewayEpoch, tuple[Sign, float]] = {}
        self._looked_at: float | None = None

    def look(self, signs: Mapping[GatewayEpoch, Sign], now: float) -> None:
        """Take what the books say now. While this process stood still, or could not read them, nobody could be heard:
        between two looks LOOK_EVERY_S counts at most.
        """
        passed_s = 0.0 if self._looked_at is None else min(now - self._looked_at, LOOK_EVERY_S)
        self._looked_at = now
        before = self._silent
        self._silent = {
            one: (sign, before[one][1] + passed_s if one in before and before[one][0] == sign else 0.0)
            for one, sign in signs.items()
        }

    def ended(self, one: GatewayEpoch) -> None:
        """Take note that this process ended an epoch: that it gives no other sign from now on is no sign of life."""
        self._silent[one] = (None, self.seconds_of(one))

    def of_those_silent_for(self, seconds: float) -> dict[GatewayEpoch, Sign]:
        """The last sign of life of those that gave no other for so long."""
        return {one: sign for one, (sign, silent_s) in self._silent.items() if silent_s >= seconds}

    def seconds_of(self, one: GatewayEpoch) -> float:
        """For how long it has been silent; 0 for one that nobody has looked at."""
        return self._silent.get(one, (None, 0.0))[1]
