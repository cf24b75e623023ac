"""Anthropic messages as the demo provider writes them.

Shapes: https://docs.anthropic.com/en/api/messages and …/messages-streaming. `input_tokens` excludes cache reads.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from farebox_local.provider.asked import Asked, flat_text, positive, text_or_none
from farebox_local.provider.orders import Counts
from farebox_local.provider.words import words

NAME = "anthropic"


def asked(body: Mapping[str, Any]) -> Asked:
    """What the request says. Raises ValueError for one that Anthropic would refuse with 400."""
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise ValueError("messages: a non-empty array is required")
    if body.get("max_tokens") is None:
        raise ValueError("max_tokens: field required")
    system = body.get("system") or []
    metadata = body.get("metadata")
    return Asked(
        model=str(body.get("model") or ""),
        text=flat_text([*body["messages"], {"content": system}]),
        max_tokens=positive("max_tokens", body["max_tokens"]),
        choices=1,
        stream=bool(body.get("stream")),
        include_usage=True,
        user=text_or_none(metadata.get("user_id")) if isinstance(metadata, dict) else None,
    )


def usage(counts: Counts, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": counts.prompt - counts.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counts.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def answer(asked: Asked, counts: Counts, answer_id: str, created: int, *, with_usage: bool) -> dict[str, Any]:
    """The JSON answer."""
    del created  # Anthropic states no time
    body = _message(asked, answer_id)
    body["content"] = [{"type": "text", "text": "".join(words(counts.completion))}]
    body["stop_reason"] = _stop_reason(counts)
    if with_usage:
        body["usage"] = usage(counts, counts.completion)
    return body


def content_events(asked: Asked, counts: Counts, answer_id: str, created: int) -> Iterator[bytes]:
    """The stream up to where the final usage is due: one event a token."""
    del created
    start = {**_message(asked, answer_id), "usage": usage(counts, min(1, counts.completion))}
    yield _event({"type": "message_start", "message": start})
    yield _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    yield _event({"type": "ping"})
    for word in words(counts.completion):
        delta = {"type": "text_delta", "text": word}
        yield _event({"type": "content_block_delta", "index": 0, "delta": delta})
    yield _event({"type": "content_block_stop", "index": 0})


def closing_events(asked: Asked, counts: Counts, answer_id: str, created: int, *, with_usage: bool) -> Iterator[bytes]:
    """The end of the stream, with the cumulative usage."""
    del asked, answer_id, created
    delta = {"stop_reason": _stop_reason(counts), "stop_sequence": None}
    final = {"usage": usage(counts, counts.completion)} if with_usage else {}
    yield _event({"type": "message_delta", "delta": delta, **final})
    yield _event({"type": "message_stop"})


def error(status: int, message: str) -> dict[str, Any]:
    """An error body."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
    return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}


def _message(asked: Asked, answer_id: str) -> dict[str, Any]:
    return {
        "id": f"msg_{answer_id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop_reason(counts: Counts) -> str:
    return "max_tokens" if counts.cut_short else "end_turn"


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (str(data["type"]).encode(), orjson.dumps(data))
