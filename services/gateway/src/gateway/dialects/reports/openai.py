"""`usage` of chat completions, and of the many providers that speak like OpenAI.

`prompt_tokens` contains what was cached, heard and seen; `completion_tokens` what was thought, said and drawn. Where
`total_tokens` is more than both, the rest was thought: xAI names it in the details, Gemini nowhere. Sources: the API
references of OpenAI, Google (OpenAI compatibility), OpenRouter, DeepSeek, xAI, Mistral, Groq, Moonshot, Perplexity.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.dialects.reports.counters import count_of, part_of, unknown_in

_PROMPT: Final = frozenset(
    {"cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens", "image_tokens", "text_tokens"}
)
_COMPLETION: Final = frozenset(
    {
        "reasoning_tokens",
        "audio_tokens",
        "image_tokens",
        "text_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    }
)
_TIMES: Final = frozenset({"queue_time", "prompt_time", "completion_time", "total_time"})
_CACHED: Final = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens")
"""DeepSeek, Moonshot, Mistral, and proxies in front of Anthropic."""
_TOOLS: Final[Mapping[str, str]] = {
    "num_sources_used": "live_search_source",  # xAI
    "num_search_queries": "search_queries",  # Perplexity
    "citation_tokens": "citation_tokens",
}
_TOOL_PARTS: Final[Mapping[str, str]] = {
    "server_tool_use": "_requests",  # OpenRouter
    "server_side_tool_usage_details": "_calls",  # xAI
}
_BESIDE: Final = frozenset({"perplexity"})
"""Providers whose thoughts are in no other count."""
_CONTEXT_SIZES: Final = frozenset({"low", "medium", "high"})
_KNOWN: Final = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "reasoning_tokens",
        "prompt_cache_miss_tokens",
        "cache_creation_input_tokens",
        "input_tokens",
        "output_tokens",
        "input_tokens_details",
        "output_tokens_details",
        "cost",
        "cost_details",
        "cost_in_usd_ticks",
        "num_server_side_tools_used",
        *_TIMES,
        *_CACHED,
        *_TOOLS,
        *_TOOL_PARTS,
    }
)


def counts(usage: Mapping[str, Any], _: str, provider: str) -> dict[str, Any] | None:
    """Buckets, `tool_calls` and what is `unknown`; None where it does not say what was read or written.

    Raises TypeError for what is no whole number.
    """
    if usage.get("prompt_tokens") is None or not _says_what_was_written(usage):
        return None
    inside, outside = part_of(usage, "prompt_tokens_details"), part_of(usage, "completion_tokens_details")
    return {
        **_input(usage, inside),
        **_output(usage, outside, provider),
        "tool_calls": _tool_calls(usage),
        "unknown": {
            **unknown_in(usage, _KNOWN),
            **unknown_in(inside, _PROMPT, "prompt_tokens_details."),
            **unknown_in(outside, _COMPLETION, "completion_tokens_details."),
        },
    }


def _says_what_was_written(usage: Mapping[str, Any]) -> bool:
    """A completion that is left out is no 0, unless the total says what there was."""
    if usage.get("completion_tokens") is not None:
        return True
    return count_of(usage.get("total_tokens")) > count_of(usage["prompt_tokens"])


def _input(usage: Mapping[str, Any], inside: Mapping[str, Any]) -> dict[str, int]:
    """A cached token of a sound counts as heard, one of a picture as read from the cache."""
    read = _first(inside.get("cached_tokens"), *map(usage.get, _CACHED))
    written = _first(
        inside.get("cache_write_tokens"), inside.get("cache_creation_tokens"), usage.get("cache_creation_input_tokens")
    )
    heard = _first(inside.get("audio_tokens"))
    plain = count_of(usage["prompt_tokens"]) - read - written - heard
    if plain < 0 <= plain + min(read, heard):
        read, plain = read + plain, 0
    seen = min(_first(inside.get("image_tokens")), max(plain, 0))
    return {
        "input": plain - seen,
        "cache_read": read,
        "cache_write_5m": written,
        "audio_in": heard,
        "image_in": seen,
    }


def _output(usage: Mapping[str, Any], outside: Mapping[str, Any], provider: str) -> dict[str, int]:
    completion = count_of(usage.get("completion_tokens"))
    thought = _first(outside.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    spoken, drawn = _first(outside.get("audio_tokens")), _first(outside.get("image_tokens"))
    rest = max(0, _first(usage.get("total_tokens")) - count_of(usage["prompt_tokens"]) - completion)
    if rest == thought or thought > completion or provider in _BESIDE:
        inside, thought = 0, max(thought, rest)
    else:
        inside, thought = thought, thought + rest
    return {
        "output": completion - inside - spoken - drawn,
        "reasoning": thought,
        "audio_out": spoken,
        "image_out": drawn,
    }


def _tool_calls(usage: Mapping[str, Any]) -> dict[str, Any]:
    calls = {tool: count for name, tool in _TOOLS.items() if (count := usage.get(name))}
    for name, ending in _TOOL_PARTS.items():
        calls |= {tool.removesuffix(ending): count for tool, count in part_of(usage, name).items() if count}
    size = usage.get("search_context_size")
    if isinstance(size, str) and size in _CONTEXT_SIZES:
        calls[f"search_context_{size}"] = 1
    return calls


def _first(*values: Any) -> int:
    """The first count that is there, 0 if none is."""
    for value in values:
        if value is not None:
            return count_of(value)
    return 0
