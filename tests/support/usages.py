"""Usages to draw from, and genai-prices' own reading of them: the oracle of pricing tests."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, localcontext

import genai_prices
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, Provider
from hypothesis import strategies as st

from farebox.money import NANO, round_half_even
from farebox.pricing import Usage

SEED_TOOLS: Mapping[str, str] = {
    "web_search": "web_searches",
    "social_search": "social_searches",
    "storage_search": "storage_searches",
    "code_execution": "code_executions",
}
SERVICE_TIERS = (None, "default", "batch", "flex", "priority", "fast", "no-such-tier")
SPEEDS = (None, "standard", "fast", "no-such-speed")

_EDGES = (100_000, 128_000, 200_000, 272_000)
counts = st.one_of(
    st.just(0),
    st.integers(0, 5_000),
    st.builds(int.__add__, st.sampled_from(_EDGES), st.integers(-1, 1)),
    st.integers(0, 3_000_000),
)

text_usages = st.builds(
    Usage,
    input=counts,
    cache_read=counts,
    cache_write_5m=counts,
    cache_write_1h=counts,
    output=counts,
    reasoning=counts,
    service_tier=st.sampled_from((None, "default")),
)
"""What a call about text can use, served as any model may be."""

usages = st.builds(
    Usage,
    input=counts,
    cache_read=counts,
    cache_write_5m=counts,
    cache_write_1h=counts,
    audio_in=counts,
    image_in=counts,
    output=counts,
    reasoning=counts,
    audio_out=counts,
    image_out=counts,
    service_tier=st.sampled_from((None, "default")),
)
"""Any mix of buckets; one request, because genai-prices knows no other number."""

served_somehow = st.builds(
    lambda usage, stated: usage.model_copy(update=stated),
    usages,
    st.fixed_dictionaries({"service_tier": st.sampled_from(SERVICE_TIERS)})
    | st.fixed_dictionaries({"speed": st.sampled_from(SPEEDS)}),
)
"""The same at any service tier or speed, also such as no model has."""


def genai_cost_nano_usd(provider: Provider, model: ModelInfo, usage: Usage, at: datetime) -> int:
    """What genai-prices charges for the usage, rounded half-even to a nano-USD."""
    tier, speed = usage.service_tier, usage.speed
    stated = {"service_tier": tier, "processing": tier, "speed": speed}
    with localcontext(prec=60):
        calculated = model.calc_price(
            _as_genai(usage),
            provider,
            genai_request_timestamp=at,
            price_context={key: value for key, value in stated.items() if value is not None} or None,
        )
        return round_half_even(calculated.total_price * Decimal(NANO))


def _as_genai(usage: Usage) -> genai_prices.Usage:
    """genai-prices counts a bucket inside the one it is part of, and wants overlaps said to be empty."""
    reported: dict[str, int] = {unit: 0 for unit in unit_data if unit != "requests"}
    reported |= {
        "input_tokens": usage.input_total,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_write_5m_tokens": usage.cache_write_5m,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "input_audio_tokens": usage.audio_in,
        "input_image_tokens": usage.image_in,
        "output_tokens": usage.output_total,
        "output_reasoning_tokens": usage.reasoning,
        "output_audio_tokens": usage.audio_out,
        "output_image_tokens": usage.image_out,
    }
    reported |= {SEED_TOOLS[tool]: count for tool, count in usage.tool_calls.items()}
    return genai_prices.Usage(**reported)
