"""A provider's usage object as disjoint buckets.

OpenAI's prompt and completion counts contain cached, audio and reasoning tokens; Anthropic's `input_tokens` excludes
what was read from or written to its cache. Sources: the two vendors' API references, "usage".
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from farebox.pricing import Usage, UsageSource

_STANDARD_TIERS: Final = frozenset({"default", "standard", "auto", ""})

BYTES_PER_TOKEN: Final = 4
"""Of text in an estimate. Deltas are counted besides, so scripts with shorter tokens are not underestimated."""

NOTHING: Final = Usage(requests=0)
"""An attempt the provider refused or never saw."""


def from_openai(usage: object, service_tier: object = None) -> Usage | None:
    """Chat completions' `usage`; None if there is none or it makes no sense (then it is estimated)."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    inside, outside = _part(usage, "prompt_tokens_details"), _part(usage, "completion_tokens_details")
    try:
        read = _count(inside.get("cached_tokens", usage.get("prompt_cache_hit_tokens")))  # the latter: DeepSeek
        written, heard = _count(inside.get("cache_write_tokens")), _count(inside.get("audio_tokens"))
        thought, spoken = _count(outside.get("reasoning_tokens")), _count(outside.get("audio_tokens"))
        is_beside = thought and usage.get("total_tokens") == prompt + completion + thought  # xAI
        counts = {
            "input": prompt - read - written - heard,
            "cache_read": read,
            "cache_write_5m": written,
            "audio_in": heard,
            "output": completion - spoken - (0 if is_beside else thought),
            "reasoning": thought,
            "audio_out": spoken,
        }
    except TypeError:
        return None
    return _usage(counts, service_tier)


def from_anthropic(usage: object, service_tier: object = None) -> Usage | None:
    """Messages' `usage`, whole or merged from a stream's events; None as in `from_openai`."""
    if not isinstance(usage, dict) or "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    writes = usage.get("cache_creation")
    tools = usage.get("server_tool_use")
    try:
        written = _count(usage.get("cache_creation_input_tokens"))
        hour = _count(writes.get("ephemeral_1h_input_tokens")) if isinstance(writes, dict) else 0
        counts: dict[str, Any] = {
            "input": usage["input_tokens"],
            "cache_read": _count(usage.get("cache_read_input_tokens")),
            "cache_write_5m": max(0, written - hour),
            "cache_write_1h": hour,
            "output": usage["output_tokens"],
        }
    except TypeError:
        return None
    if isinstance(tools, dict):
        counts["tool_calls"] = {name.removesuffix("_requests"): count for name, count in tools.items() if count}
    return _usage(counts, service_tier or usage.get("service_tier"))


def estimated(*, input_tokens: int, output_tokens: int, worst: Usage) -> Usage:
    """A guess for an answer without usage, marked as such and never above what was reserved."""
    return Usage(
        input=min(input_tokens, worst.input_total),
        output=min(output_tokens, worst.output_total),
        source=UsageSource.ESTIMATED,
    )


def tokens_of(text_bytes: int) -> int:
    """Tokens of so much text, roughly."""
    return -(-text_bytes // BYTES_PER_TOKEN)


def _part(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = usage.get(name)
    return part if isinstance(part, dict) else {}


def _count(value: Any) -> Any:
    """An absent detail is zero; a wrong type is left for `Usage` to refuse."""
    return 0 if value is None else value


def _usage(counts: Mapping[str, Any], tier: object) -> Usage | None:
    stated = tier if isinstance(tier, str) and tier not in _STANDARD_TIERS else None
    try:
        return Usage.model_validate({**counts, "service_tier": stated})
    except ValidationError:
        return None
