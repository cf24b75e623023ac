"""How long to wait before the next attempt."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling from `base_s` to `cap_s`, seconds."""

    base_s: float
    cap_s: float

    def delay_s(self, attempt: int, jitter: float) -> float:
        """Before attempt number `attempt` (the first retry is 1). `jitter` in [0, 1) spreads it over the upper half."""
        full = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 32))
        return full * (0.5 + jitter / 2)

    def jittered_s(self, attempt: int) -> float:
        """`delay_s` with chance jitter, so that replicas do not come back in step."""
        return self.delay_s(attempt, random.random())  # noqa: S311 - spreads load, guards nothing
