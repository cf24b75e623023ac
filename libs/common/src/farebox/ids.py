"""The only place that makes identifiers.

Event, attempt, lease and ledger ids are UUIDv7 (RFC 9562 §5.7), made by the producer before the fact: they sort by
time of making, and the instant inside them names the ledger's partition, so that a replay always meets its original.
"""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_PREFIX = "fbx_"
_KEY_LENGTH = 43  # 43 base-62 digits carry 256 bits


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid7()


def instant_of(id_: UUID) -> datetime:
    """The UTC instant (to the millisecond) at which a UUIDv7 was made.

    Raises ValueError for a UUID of another version, whose bits hold no such instant, or one after the year 9999.
    """
    if id_.version != 7:
        raise ValueError(f"{id_} is no UUIDv7, so it carries no instant")
    try:
        return _EPOCH + timedelta(milliseconds=id_.int >> 80)
    except OverflowError:
        raise ValueError(f"{id_} carries an instant after the year 9999") from None


def new_api_key() -> str:
    """A fresh API key: `fbx_` and 43 base-62 digits (256 bits). Shown once, stored only as a hash."""
    return _KEY_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(_KEY_LENGTH))
