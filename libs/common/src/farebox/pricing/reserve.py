"""The most that a call can cost: what admission holds before the call is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from farebox.pricing.price import Unpriced, price
from farebox.pricing.rates import Mode, Rates, RateTable
from farebox.pricing.usage import BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS, Bucket, Usage, UsageSource

ALL_BUCKETS: Final[frozenset[Bucket]] = frozenset(BUCKETS)

TEXT_BUCKETS: Final[frozenset[Bucket]] = ALL_BUCKETS - {"audio_in", "audio_out", "image_in", "image_out"}
"""What a call can use that neither sends nor asks for sound or pictures."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a call could use, as far as its sender knows; without such knowledge everything.

    `service_tiers`: the tiers, beside the standard one, at which it may be served; None for any. `tool_calls`: the
    most calls of each tool that the provider bills.
    """

    buckets: frozenset[Bucket] = ALL_BUCKETS
    service_tiers: frozenset[str] | None = None
    tool_calls: Mapping[str, int] = field(default_factory=dict)


ANYTHING: Final = Exposure()


class _Peak(NamedTuple):
    """The dearest bucket of each side in one table; no bucket where the call cannot use that side."""

    mode: Mode
    table: RateTable
    input_bucket: Bucket | None
    input_rate: int
    output_bucket: Bucket | None
    output_rate: int


def worst_case(
    rates: Rates, input_bound: int, output_bound: int, n: int = 1, exposure: Exposure = ANYTHING
) -> int | Unpriced:
    """Nano-USD that no call within the bounds can exceed: the price of `worst_case_usage`, to the nano.

    The bounds: `input_bound` tokens in all input-side buckets together, `output_bound` in all output-side ones for
    each of `n` answers, one request. Unpriced where something within them has no rate: no price, no request.
    """
    charge = price(rates, worst_case_usage(rates, input_bound, output_bound, n, exposure))
    return charge if isinstance(charge, Unpriced) else charge.cost_nano_usd


def worst_case_usage(
    rates: Rates, input_bound: int, output_bound: int, n: int = 1, exposure: Exposure = ANYTHING
) -> Usage:
    """The dearest usage within the bounds: what a call is charged whose end nobody saw.

    Dearest over long-context tiers, service tiers, cache writes, sound and pictures, as far as `exposure` allows.
    Raises ValueError for a negative bound or one that is more than any call uses (MAX_COUNT).
    """
    peaks = _peaks(rates, exposure.buckets, exposure.service_tiers)
    reachable = [peak for peak in peaks if peak.table.above < input_bound]
    output = output_bound * n

    def amount(peak: _Peak) -> int:
        tokens = _input_within(peak, input_bound) * peak.input_rate + output * peak.output_rate
        if not exposure.tool_calls:
            return tokens + peak.table.request
        calls = sum(count * peak.table.tools.get(tool, 0) for tool, count in exposure.tool_calls.items())
        return tokens + peak.table.request + calls

    peak = max(reachable, key=amount, default=peaks[0])
    tokens: dict[str, int] = {}
    if peak.input_bucket is not None:
        tokens[peak.input_bucket] = _input_within(peak, input_bound)
    if peak.output_bucket is not None:
        tokens[peak.output_bucket] = output
    return Usage.model_validate(
        {
            **tokens,
            "tool_calls": dict(exposure.tool_calls),
            **peak.mode._asdict(),
            "source": UsageSource.WORST_CASE,
        }
    )


def _input_within(peak: _Peak, bound: int) -> int:
    """The most input-side tokens of a call within `bound` that the peak's table prices."""
    return bound if peak.table.upto is None else min(bound, peak.table.upto)


@lru_cache(maxsize=1024)
def _peaks(rates: Rates, buckets: frozenset[Bucket], service_tiers: frozenset[str] | None) -> tuple[_Peak, ...]:
    """One peak a table, the standard tier first: it names the usage where tiers cost the same."""
    ladders = [
        (mode, ladder)
        for mode, ladder in rates.modes.items()
        if service_tiers is None or mode.service_tier is None or mode.service_tier in service_tiers
    ]
    return tuple(
        _Peak(
            mode,
            table,
            *_dearest(table, [bucket for bucket in INPUT_BUCKETS if bucket in buckets]),
            *_dearest(table, [bucket for bucket in OUTPUT_BUCKETS if bucket in buckets]),
        )
        for mode, ladder in ladders
        for table in ladder
    )


def _dearest(table: RateTable, buckets: Sequence[Bucket]) -> tuple[Bucket | None, int]:
    """The bucket with the highest rate; the first, which is then unpriced, where none has one."""
    rate_of = dict(zip(BUCKETS, table.tokens, strict=True))
    dearest = max(buckets, key=lambda bucket: rate_of[bucket] or 0, default=None)
    return dearest, (rate_of[dearest] or 0) if dearest is not None else 0
