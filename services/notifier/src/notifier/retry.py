"""When a delivery that failed is tried again."""

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_JITTER: Final = 0.1
RETRY_AFTER_MAX_S: Final = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds before the second attempt, the third, and so on; after the last the delivery has failed."""

    delays_s: tuple[float, ...]

    def delay_s(self, attempts: int, *, retry_after_s: float | None, jitter: float) -> float | None:
        """Seconds until the next attempt when `attempts` were made; null when there is none.

        The receiver's Retry-After counts where it is later. `jitter` in [0, 1) adds up to a tenth, so that a
        receiver that comes back is not met by everything at once.
        """
        if attempts > len(self.delays_s):
            return None
        planned = self.delays_s[attempts - 1]
        asked = min(retry_after_s or 0.0, RETRY_AFTER_MAX_S)
        return max(planned, asked) * (1 + _JITTER * jitter)


WEBHOOK: Final = Schedule(
    (5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
)
"""Standard Webhooks, "Deliverability and reliability": ten attempts over three days, the first one immediately."""

MAIL: Final = Schedule((15.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR))
"""A relay that is away or greylists is back within minutes or hours; an alert older than a day helps nobody."""


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds a Retry-After header (RFC 9110 §10.2.3) asks to wait, or null where it says nothing readable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), RETRY_AFTER_MAX_S)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        return None
    return min(max((date - now).total_seconds(), 0.0), RETRY_AFTER_MAX_S)
