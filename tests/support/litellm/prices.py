"""What a call costs by LiteLLM's list, read as LiteLLM reads it: `prices.json`, written by `extract.py`."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from farebox.money import NANO, round_half_even
from farebox.pricing import Usage

LISTED: Final[dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("prices.json").read_text("utf-8"), parse_float=Decimal
)["models"]
"""Entries by provider/model, with the names of the seed."""

_SUFFIX: Final = {None: "", "flex": "_flex", "priority": "_priority", "batch": "_batches"}
_ABOVE: Final = re.compile(r"_above_(\d+)k_tokens")
_SIDES: Final = ("input_cost_per_token", "output_cost_per_token")
_STANDS_IN: Final = {
    "cache_read_input_token_cost": "input_cost_per_token",
    "cache_creation_input_token_cost": "input_cost_per_token",
    "cache_creation_input_token_cost_above_1hr": "cache_creation_input_token_cost",
    "input_cost_per_image_token": "input_cost_per_token",
    "output_cost_per_reasoning_token": "output_cost_per_token",
}
_UNITS: Final = {
    "input": "input_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "audio_in": "input_cost_per_audio_token",
    "image_in": "input_cost_per_image_token",
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
}
_SEARCHES_ALWAYS: Final = re.compile(r"^perplexity/sonar(?!-deep)|-search-(preview|api)$")
"""Models that search in every call, so that LiteLLM adds its fee a query to each."""


def cost_nano_usd(name: str, usage: Usage) -> int | None:
    """None where LiteLLM lists no price for a tier, speed, geography or unit of the call."""
    entry = LISTED[name]
    if any(base + _SUFFIX[usage.service_tier] not in entry for base in _SIDES):
        return None
    amounts = [*_tokens(name, entry, usage), *_searches(name, entry, usage)]
    served = entry.get("provider_specific_entry", {})
    times = [Decimal(served.get(each, "NaN")) for each in (usage.speed, usage.geography) if each is not None]
    total = sum((amount for amount in amounts if amount is not None), Decimal(0))
    for factor in times:
        total *= factor
    return None if None in amounts or total.is_nan() else round_half_even(total * NANO)


def _tokens(name: str, entry: dict[str, Any], usage: Usage) -> Iterator[Decimal | None]:
    hears_as_text = name.startswith("google/") and _UNITS["audio_in"] not in entry
    units = _UNITS | {"audio_in": _UNITS["input"]} if hears_as_text else _UNITS
    for bucket, base in units.items():
        if count := getattr(usage, bucket):
            rate = _rate(entry, base, usage)
            yield None if rate is None else count * rate


def _rate(entry: dict[str, Any], base: str, usage: Usage) -> Decimal | None:
    suffix = _SUFFIX[usage.service_tier]
    starts = {int(found[1]) for key in entry if (found := _ABOVE.search(key))}
    above = max((start for start in starts if usage.input_total > start * 1000), default=None)
    long = "" if above is None else f"_above_{above}k_tokens"
    for key in (f"{base}{long}{suffix}", f"{base}{suffix}", f"{base}{long}", base):
        if key in entry:
            return Decimal(entry[key])
    return _rate(entry, _STANDS_IN[base], usage) if base in _STANDS_IN else None


def _searches(name: str, entry: dict[str, Any], usage: Usage) -> Iterator[Decimal | None]:
    fee = entry.get("search_context_cost_per_query", {}).get("search_context_size_low")
    if _SEARCHES_ALWAYS.search(name):
        yield Decimal(fee)
    elif count := usage.tool_calls.get("web_search"):
        yield None if fee is None else count * Decimal(fee)
