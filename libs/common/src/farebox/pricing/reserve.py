"""The most that a call can cost: what admission holds before the call is sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from farebox.pricing.price import Unpriced, price
from farebox.pricing.rates import BASE, STANDARD, Mode, Rates, RateTable, canonical
from farebox.pricing.usage import BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS, Bucket, Usage, UsageSource

ALL_BUCKETS: Final[frozenset[Bucket]] = frozenset(BUCKETS)

TEXT_BUCKETS: Final[frozenset[Bucket]] = ALL_BUCKETS - {"audio_in", "audio_out", "image_in", "image_out"}
"""What a call can use that neither sends nor asks for sound or pictures."""


class Exposure(NamedTuple):
    """What a call could use, as far as its sender knows; without such knowledge everything.

    `buckets` are those of what `input_bound` and `output_bound` count. `audio_in` and `image_in` are tokens beside it:
    sound has a rate of its own or none, a picture is priced as one or as text. `service_tiers`, `speeds` and
    `geographies` are those, beside the standard ones, in which the call may be served; None for any that has a price.
    `tool_calls`: the most calls of each tool that the provider bills. `made` are buckets of the answer that the
    call asks for: where they have no rate of their own, nothing has one, for text is no measure of what they cost.
    """

    buckets: frozenset[Bucket] = ALL_BUCKETS
    audio_in: int = 0
    image_in: int = 0
    service_tiers: frozenset[str] | None = None
    speeds: frozenset[str] | None = None
    geographies: frozenset[str] | None = None
    tool_calls: tuple[tuple[str, int], ...] = ()
    made: frozenset[Bucket] = frozenset()


ANYTHING: Final = Exposure()


_NOTHING: Final = RateTable(BASE, None, (None,) * len(BUCKETS), 0, MappingProxyType({}))
"""No rate for anything."""


class _Dearest(NamedTuple):
    """The bucket of a side with the highest rate in one table; None where the call cannot use that side."""

    bucket: Bucket | None
    rate: int


class _Peak(NamedTuple):
    """What is dearest in one table: of text, of sound, of pictures, of answers."""

    mode: Mode
    table: RateTable
    text: _Dearest
    audio: _Dearest
    image: _Dearest
    output: _Dearest


def worst_case(
    rates: Rates, input_bound: int, output_bound: int, n: int = 1, exposure: Exposure = ANYTHING
) -> int | Unpriced:
    """Nano-USD that no call within the bounds can exceed: the price of `worst_case_usage`, to the nano.

    The bounds: `input_bound` tokens in all input-side buckets together, and what `exposure` adds of sound and pictures;
    `output_bound` in all output-side ones for each of `n` answers, one request. Unpriced where something within them
    has no rate: no price, no request.
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
    peaks = _peaks(rates, exposure.buckets, exposure.service_tiers, exposure.speeds, exposure.geographies)
    total = input_bound + exposure.audio_in + exposure.image_in
    reachable = [peak for peak in peaks if peak.table.above < total]
    output = output_bound * n

    def amount(peak: _Peak) -> int:
        amount = output * peak.output.rate + peak.table.request
        for dearest, count in _input(peak, input_bound, exposure):
            amount += count * dearest.rate
        for tool, count in exposure.tool_calls:
            amount += count * peak.table.tools.get(tool, 0)
        return amount

    peak = max(reachable, key=amount, default=peaks[0])
    tokens: dict[str, int] = {}
    for bucket in exposure.made:
        if peak.table.tokens[BUCKETS.index(bucket)] is None:
            tokens[bucket] = 1
    for dearest, count in (*_input(peak, input_bound, exposure), (peak.output, output)):
        if dearest.bucket is not None:
            tokens[dearest.bucket] = tokens.get(dearest.bucket, 0) + count
    return Usage.model_validate(
        {
            **tokens,
            "tool_calls": dict(exposure.tool_calls),
            **peak.mode._asdict(),
            "source": UsageSource.WORST_CASE,
        }
    )


def _input(peak: _Peak, bound: int, exposure: Exposure) -> Iterable[tuple[_Dearest, int]]:
    """The dearest input within the bounds that the peak's table prices."""
    upto = peak.table.upto
    if not exposure.audio_in and not exposure.image_in:
        return ((peak.text, bound if upto is None else min(bound, upto)),)
    parts = ((peak.text, bound), (peak.audio, exposure.audio_in), (peak.image, exposure.image_in))
    return parts if upto is None else _within(upto, parts)


def _within(upto: int, parts: Iterable[tuple[_Dearest, int]]) -> Iterator[tuple[_Dearest, int]]:
    """As much of the parts as there is room for, the dearest first."""
    for dearest, count in sorted(parts, key=lambda part: part[0].rate, reverse=True):
        yield dearest, min(count, upto)
        upto -= min(count, upto)


@lru_cache(maxsize=1024)
def _peaks(rates: Rates, buckets: frozenset[Bucket], *names: frozenset[str] | None) -> tuple[_Peak, ...]:
    """One peak a table, the standard mode first: it names the usage where modes cost the same.

    Where a tier, speed or geography is named that has no price, nothing has one.
    """
    modes = [mode for mode in rates.modes if all(map(_may_be, mode, names))]
    found = [_peak(mode, table, buckets) for mode in modes for table in rates.modes[mode]]
    for place, named in enumerate(names):
        for name in named or ():
            mode = canonical(STANDARD._replace(**{Mode._fields[place]: name}))
            if mode not in rates.modes:
                return (_peak(mode, _NOTHING, buckets),)
    return tuple(found)


def _may_be(stated: str | None, named: frozenset[str] | None) -> bool:
    return stated is None or named is None or stated in named


def _peak(mode: Mode, table: RateTable, buckets: frozenset[Bucket]) -> _Peak:
    rates = dict(zip(BUCKETS, table.tokens, strict=True))
    inputs = [bucket for bucket in INPUT_BUCKETS if bucket in buckets]
    outputs = [bucket for bucket in OUTPUT_BUCKETS if bucket in buckets]
    return _Peak(
        mode,
        table,
        text=_dearest(rates, inputs),
        audio=_dearest(rates, ["audio_in"]),
        image=_dearest(rates, ["image_in", *(bucket for bucket in inputs if bucket != "audio_in")]),
        output=_dearest(rates, outputs),
    )


def _dearest(rates: Mapping[Bucket, int | None], buckets: Sequence[Bucket]) -> _Dearest:
    """The bucket with the highest rate; the first, which is then unpriced, where none has one."""
    dearest = max(buckets, key=lambda bucket: rates[bucket] or 0, default=None)
    return _Dearest(dearest, (rates[dearest] or 0) if dearest is not None else 0)
