"""The most that a call can cost: what admission holds before the call is sent."""

from collections.abc import Mapping
from typing import Final

from farebox.pricing.price import Unpriced
from farebox.pricing.rates import Rates
from farebox.pricing.usage import BUCKETS, Bucket, Usage

ALL_BUCKETS: Final[frozenset[Bucket]] = frozenset(BUCKETS)
TEXT_BUCKETS: Final[frozenset[Bucket]] = frozenset(
    ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning")
)
"""What a call can use whose messages hold text only."""


def worst_case(
    rates: Rates,
    input_bound: int,
    output_bound: int,
    n: int = 1,
    *,
    buckets: frozenset[Bucket] = ALL_BUCKETS,
    service_tiers: frozenset[str] | None = None,
    tool_calls: Mapping[str, int] | None = None,
) -> int | Unpriced:
    """Nano-USD that no call can exceed ..."""
    raise NotImplementedError


def worst_case_usage(
    rates: Rates,
    input_bound: int,
    output_bound: int,
    n: int = 1,
    *,
    buckets: frozenset[Bucket] = ALL_BUCKETS,
    service_tiers: frozenset[str] | None = None,
    tool_calls: Mapping[str, int] | None = None,
) -> Usage:
    """The dearest usage within those bounds, whose price is exactly `worst_case`."""
    raise NotImplementedError
