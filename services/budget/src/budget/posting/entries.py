"""Ledger entries read from `usage.priced` at the speed of posting: a leaner reader of the same contract.

`farebox.events.decode` has the last word. What a `UsagePriced` looks like is mirrored here in types that msgspec reads
in a third of the time; every record that they do not take as it stands (another writing of an instant, a field of a
newer producer, anything malformed) is read by `decode`, which takes it or says what is wrong with it.
`tests/contract/test_entries.py` holds the two against each other.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta

from farebox.events import Measured, UsagePriced, decode
from farebox.events.envelope import EARLIEST, LATEST, SPEC_VERSION, CloudEvent

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Count = Annotated[int, Meta(ge=0)]
_Nano = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_SignedNano = Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)]
_Instant = Annotated[datetime, Meta(tz=True)]
_Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
_Suspense = Literal["unknown_model", "no_price_at_time", "no_rate_for_unit", "cost_out_of_range", "unknown_currency"]


class _Part(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Fields in the contract's order, in which they are read fastest. None of them can hold a cycle."""


class _Principal(_Part, frozen=True, kw_only=True):
    org: _Name
    team: _Name | None = None
    user: _Name | None = None
    key: _Name

    def path(self) -> tuple[str, ...]:
        """Account ids from the platform down to the key."""
        return _path(self.org, self.team, self.user, self.key)


class _LeaseUse(_Part, frozen=True):
    lease_id: UUID
    reserve_nano: _Nano
    settled_nano: _Nano | None = None


class _CallAttributes(_Part, frozen=True):
    upstream: _Name
    provider: _Name
    model: _Name
    feature: _Name | None = None
    session: _Name | None = None


class _Measured(_Part, frozen=True):
    money: _Nano = 0
    requests: _Count = 0
    tokens: _Count = 0


class _HeldWindow(_Part, frozen=True):
    budget_id: UUID
    start: _Instant


class _Held(_Part, frozen=True, kw_only=True):
    gateway: _Name
    epoch: _Count
    windows: tuple[_HeldWindow, ...] = ()
    settled: _Measured = _Measured()
    uncertain: _Measured = _Measured()
    attributes: _CallAttributes


class LeanEntry(_Part, frozen=True, kw_only=True):
    """As `farebox.events.UsagePriced`, field by field."""

    entry_id: UUID
    attempt_id: UUID
    request_id: UUID
    kind: Literal["charge", "correction"] = "charge"
    occurred_at: _Instant
    priced_at: _Instant
    principal: _Principal
    session: _Name | None = None
    feature: _Name | None = None
    provider: _Name
    model: _Name
    cost_nano_usd: _SignedNano | None
    billed_nano: _SignedNano | None
    currency: _Currency
    price_version: _Name | None
    requests: int = 1
    tokens: int = 0
    usage_source: Literal["reported", "estimated", "worst_case"]
    lease: _LeaseUse | None = None
    held: _Held | None = None
    suspense: _Suspense | None = None
    corrects: UUID | None = None


@lru_cache(maxsize=65_536)
def _path(*below: str | None) -> tuple[str, ...]:
    return ("platform", *(account for account in below if account is not None))


Entry: TypeAlias = UsagePriced | LeanEntry
Amounts: TypeAlias = Measured | _Measured

_READER: Final = msgspec.json.Decoder(LeanEntry)
_TYPE: Final = UsagePriced.type.encode()
_FINER_THAN_A_MICROSECOND: Final = re.compile(rb"\.[0-9]{7}")
"""Instants so fine would be rounded here; the contract cuts them."""
_UUID_BYTES: Final = 16


def read(*, headers: Mapping[str, bytes], value: bytes | None) -> Entry | CloudEvent:
    """A record's event, as `farebox.events.decode` reads it. Raises Undecodable as that does."""
    return _read_lean(headers, value) or decode(headers=headers, value=value).event


def _read_lean(headers: Mapping[str, bytes], value: bytes | None) -> LeanEntry | None:
    """The entry, where both attributes and value are plainly of the contract."""
    if value is None or headers.get("ce_type") != _TYPE or headers.get("ce_specversion") != SPEC_VERSION:
        return None
    try:
        if not _are_plain(headers) or _FINER_THAN_A_MICROSECOND.search(value):
            return None
        entry = _READER.decode(value)
    except (AttributeError, KeyError, TypeError, ValueError):  # what msgspec raises is a ValueError
        return None
    return entry if _makes_sense(entry) else None


def _are_plain(headers: Mapping[str, bytes]) -> bool:
    """Raises KeyError or ValueError for one that is missing or cannot be read."""
    time = datetime.fromisoformat(headers["ce_time"].decode())
    return (
        len(bytes.fromhex(headers["ce_id"].decode().replace("-", ""))) == _UUID_BYTES
        and headers["ce_source"].isascii()
        and headers["ce_subject"].isascii()
        and time.tzinfo is not None
        and EARLIEST <= time < LATEST
    )


def _makes_sense(entry: LeanEntry) -> bool:
    """What the types do not say: a price or why there is none, and instants of the contract."""
    if (entry.billed_nano is None) is (entry.suspense is None):
        return False
    if not (EARLIEST <= entry.occurred_at < LATEST and EARLIEST <= entry.priced_at < LATEST):
        return False
    if entry.held is not None:
        for window in entry.held.windows:
            if not EARLIEST <= window.start < LATEST:
                return False
    return True


def is_any(amounts: Amounts) -> bool:
    """Whether it is more than nothing, in any measure."""
    return bool(amounts.money or amounts.requests or amounts.tokens)
