"""What a price costs: ours beside genai-prices' calc_price, the same call on the same model, in one process.

    uv run python bench/price.py

Prints microseconds a call (best of several runs) and the ratio. No network, no servers.
"""

import dataclasses
import timeit
from collections.abc import Callable
from datetime import UTC, datetime

import genai_prices

from farebox.pricing import BUCKETS, Catalogue, Rates, Usage, UsageSource, explain, price, worst_case

PROVIDER, MODEL = "anthropic", "claude-sonnet-4-5"
AT = datetime(2026, 11, 20, tzinfo=UTC)
ROUNDS, RUNS = 20_000, 5


@dataclasses.dataclass(frozen=True, slots=True)
class CheckedUsage:
    """The alternative to a pydantic Usage: slots, and the same refusals by hand."""

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_in: int = 0
    image_in: int = 0
    output: int = 0
    reasoning: int = 0
    audio_out: int = 0
    image_out: int = 0
    requests: int = 1
    tool_calls: dict[str, int] = dataclasses.field(default_factory=dict)
    source: UsageSource = UsageSource.REPORTED
    service_tier: str | None = None

    def __post_init__(self) -> None:
        for bucket in BUCKETS:
            count = getattr(self, bucket)
            if type(count) is not int or not 0 <= count <= 10**12:
                raise ValueError(f"{bucket}: {count!r} is no count")


def microseconds(call: Callable[[], object]) -> float:
    """Best of RUNS, a call."""
    return min(timeit.repeat(call, number=ROUNDS, repeat=RUNS)) / ROUNDS * 1e6


def main() -> None:
    catalogue = Catalogue()
    found = catalogue.rates_for(PROVIDER, MODEL, AT)
    assert found is not None
    rates: Rates = found
    usage = Usage(input=1_200, cache_read=800, output=350)
    theirs = genai_prices.Usage(input_tokens=2_000, cache_read_tokens=800, output_tokens=350)

    oracle = microseconds(
        lambda: genai_prices.calc_price(theirs, MODEL, provider_id=PROVIDER, genai_request_timestamp=AT)
    )
    priced = microseconds(lambda: catalogue.price(PROVIDER, MODEL, usage, AT))
    rows = {
        "genai-prices calc_price": oracle,
        "catalogue.price: rates_for and price": priced,
        "rates_for": microseconds(lambda: catalogue.rates_for(PROVIDER, MODEL, AT)),
        "price": microseconds(lambda: price(rates, usage)),
        "worst_case": microseconds(lambda: worst_case(rates, 2_000, 1_024)),
        "explain": microseconds(lambda: explain(rates, usage)),
        "building a Usage (pydantic)": microseconds(lambda: Usage(input=1_200, cache_read=800, output=350)),
        "the same as a checked slotted dataclass": microseconds(
            lambda: CheckedUsage(input=1_200, cache_read=800, output=350)
        ),
    }
    for name, time in rows.items():
        print(f"{name:40} {time:6.2f} µs")
    print(f"calc_price / catalogue.price: {oracle / priced:.1f}")


if __name__ == "__main__":
    main()
