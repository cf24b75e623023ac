"""OpenAI chat completions as the demo provider writes them.

Shapes: https://platform.openai.com/docs/api-reference/chat (JSON, and SSE with `stream_options.include_usage`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from farebox_local.provider.asked import Asked, flat_text, positive, text_or_none
from farebox_local.provider.orders import Counts
from farebox_local.provider.words import words

NAME = "openai"


def asked(body: Mapping[str, Any]) -> Asked:
    """What the request says. Raises ValueError for one that OpenAI would refuse with 400."""
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise ValueError("messages: a non-empty array is required")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    options = body.get("stream_options") or {}
    return Asked(
        model=str(body.get("model") or ""),
        text=flat_text(body["messages"]),
        max_tokens=None if limit is None else positive("max_tokens", limit),
        choices=positive("n", body.get("n") or 1),
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        user=text_or_none(body.get("user")),
    )


def usage(counts: Counts) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
        "prompt_tokens_details": {"cached_tokens": counts.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def answer(asked: Asked, counts: Counts, answer_id: str, created: int, *, with_usage: bool) -> dict[str, Any]:
    """The JSON answer."""
    body = _frame(asked, answer_id, created, "chat.completion")
    text = "".join(words(counts.completion_per_choice))
    body["choices"] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": _finish_reason(counts),
        }
        for index in range(counts.choices)
    ]
    if with_usage:
        body["usage"] = usage(counts)
    return body


def content_events(asked: Asked, counts: Counts, answer_id: str, created: int) -> Iterator[bytes]:
    """The stream up to where the usage is due: one event a token and choice."""
    frame = _frame(asked, answer_id, created, "chat.completion.chunk")
    if asked.include_usage:
        frame["usage"] = None

    def event(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**frame, "choices": [choice]})

    for index in range(counts.choices):
        yield event(index, {"role": "assistant", "content": "", "refusal": None})
    for word in words(counts.completion_per_choice):
        for index in range(counts.choices):
            yield event(index, {"content": word})
    for index in range(counts.choices):
        yield event(index, {}, _finish_reason(counts))


def closing_events(asked: Asked, counts: Counts, answer_id: str, created: int, *, with_usage: bool) -> Iterator[bytes]:
    """The end of the stream, with the usage if it was asked for."""
    if asked.include_usage and with_usage:
        frame = _frame(asked, answer_id, created, "chat.completion.chunk")
        yield _event({**frame, "choices": [], "usage": usage(counts)})
    yield b"data: [DONE]\n\n"


def error(status: int, message: str) -> dict[str, Any]:
    """An error body."""
    kinds = {400: "invalid_request_error", 401: "invalid_request_error", 429: "rate_limit_error"}
    codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    kind = kinds.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": codes.get(status)}}


def _frame(asked: Asked, answer_id: str, created: int, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer_id}",
        "object": kind,
        "created": created,
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": "fp_demo",
    }


def _finish_reason(counts: Counts) -> str:
    return "length" if counts.cut_short else "stop"


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
