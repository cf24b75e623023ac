"""`usage` of messages, whole or merged from a stream's events.

`input_tokens` excludes what was read from the cache and written to it. `iterations` lists every sampling of the answer;
compactions, and advice of another model, are in no other field. Source: Anthropic's API reference and SDK types.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.dialects.reports.counters import count_of, part_of, unknown_in

_TOKENS: Final = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
_KNOWN: Final = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "output_tokens_details",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "server_tool_use",
        "iterations",
        "fallback_credit",
    }
)
_WRITES: Final = frozenset({"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"})


def counts(usage: Mapping[str, Any], model: str, _: str) -> dict[str, Any] | None:
    """As of the OpenAI dialect."""
    if usage.get("input_tokens") is None or usage.get("output_tokens") is None:
        return None
    found = _sampling(usage)
    own = dict.fromkeys(_TOKENS, 0)
    others: dict[str, int] = {}
    for sampling in _iterations(usage):
        by = sampling.get("model")
        each = _sampling(sampling)
        if isinstance(by, str) and not _same(by, model):
            for bucket, count in each.items():
                others[f"{by}.{bucket}"] = others.get(f"{by}.{bucket}", 0) + count
        else:
            own = {bucket: own[bucket] + each[bucket] for bucket in _TOKENS}
    return {
        **{bucket: max(found[bucket], own[bucket]) for bucket in _TOKENS},
        "tool_calls": _tool_calls(usage),
        "unknown": {
            **{name: count for name, count in others.items() if count},
            **unknown_in(usage, _KNOWN),
            **unknown_in(part_of(usage, "cache_creation"), _WRITES, "cache_creation."),
        },
    }


def _sampling(usage: Mapping[str, Any]) -> dict[str, int]:
    writes = part_of(usage, "cache_creation")
    hour = count_of(writes.get("ephemeral_1h_input_tokens"))
    written = max(
        count_of(usage.get("cache_creation_input_tokens")), hour + count_of(writes.get("ephemeral_5m_input_tokens"))
    )
    return {
        "input": count_of(usage.get("input_tokens")),
        "cache_read": count_of(usage.get("cache_read_input_tokens")),
        "cache_write_5m": written - hour,
        "cache_write_1h": hour,
        "output": count_of(usage.get("output_tokens")),
    }


def _iterations(usage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = usage.get("iterations")
    return (each for each in (found if isinstance(found, list) else ()) if isinstance(each, dict))


def _tool_calls(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removesuffix("_requests"): count for name, count in part_of(usage, "server_tool_use").items() if count}


def _same(one: str, other: str) -> bool:
    """Whether two names may mean one model: as they are, or one of them with its date."""
    return one.startswith(other) or other.startswith(one)
