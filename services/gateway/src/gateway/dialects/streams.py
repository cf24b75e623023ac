"""Server-sent events on their way from provider to caller: passed on as they come, usage picked out.

Cheap for the common chunk: only lines that hold `"usage"`, and the first one for the model's name, are read as JSON.
"""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from gateway.dialects.usage import tokens_of
from gateway.upstreams.directory import Dialect

LINE_BYTES_MAX: Final = 1 << 20
"""A longer line is passed on unread."""
KEPT_BYTES_MAX: Final = 64 << 10
"""Of the beginning of a stream, to estimate from if it ends without usage."""

_USAGE: Final = b'"usage"'
_NULL_AT_END: Final = b',"usage":null}'


class StreamFilter:
    """One stream. `feed` and `finish` return what goes to the caller, in order.

    `usage` is the newest object seen, `is_final` whether it is the whole answer's: some providers send a running one.
    `is_whole` is for the caller to set when the stream has come to its own end. `strips_usage` takes out what the
    gateway alone had asked for: the closing usage event and the null fields before it.
    """

    __slots__ = (
        "_closes",
        "_dropping",
        "_kept",
        "_kept_bytes",
        "_rest",
        "bytes_seen",
        "dialect",
        "is_whole",
        "model",
        "provider",
        "strips_usage",
        "tier",
        "usage",
    )

    def __init__(self, dialect: Dialect, *, strips_usage: bool) -> None:
        self.dialect = dialect
        self.strips_usage = strips_usage
        self.model: str | None = None
        self.tier: object = None
        self.provider: str | None = None
        self.usage: dict[str, Any] | None = None
        self.is_whole = False
        self._closes = False
        self.bytes_seen = 0
        self._rest = b""
        self._dropping = False
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    @property
    def is_final(self) -> bool:
        return self._closes or (self.is_whole and self.dialect == "openai")

    def feed(self, chunk: bytes) -> bytes:
        """Takes any piece of the stream; a line's beginning waits for its end."""
        self.bytes_seen += len(chunk)
        if self._kept_bytes < KEPT_BYTES_MAX:
            self._kept.append(chunk)
            self._kept_bytes += len(chunk)
        data = self._rest + chunk if self._rest else chunk
        if not data.endswith(b"\n"):
            end = data.rfind(b"\n") + 1
            if len(data) - end > LINE_BYTES_MAX:
                end = len(data)
            self._rest = data[end:]
            data = data[:end]
        else:
            self._rest = b""
        if not self._dropping and self.model is not None and _USAGE not in data:
            return data
        return b"".join(map(self._line, data.splitlines(keepends=True)))

    def finish(self) -> bytes:
        """What is left when the provider has said its last."""
        rest, self._rest = self._rest, b""
        return self._line(rest) if rest else b""

    def guessed_output(self) -> int:
        """Tokens of the text that passed, by its bytes and by its deltas, whichever is more."""
        deltas = text_bytes = 0
        for line in b"".join(self._kept).splitlines():
            for text in _texts(self.dialect, _data(line)):
                deltas += 1
                text_bytes += len(text.encode())
        guess = max(deltas, tokens_of(text_bytes))
        return -(-guess * self.bytes_seen // self._kept_bytes) if self._kept_bytes else 0

    def _line(self, line: bytes) -> bytes:
        if self._dropping:
            self._dropping = bool(line.strip())
            return b""
        if not line.startswith(b"data:") or (_USAGE not in line and self.model is not None):
            return line
        data = _data(line)
        return line if data is None else self._event(data, line)

    def _event(self, data: dict[str, Any], line: bytes) -> bytes:
        if self.dialect == "anthropic":
            self._learn_anthropic(data)
            return line
        self._learn(data)
        if "usage" in data:
            usage = data["usage"]
            if isinstance(usage, dict) and (self.usage is None or _tokens(usage) >= _tokens(self.usage)):
                self.usage, self._closes = usage, _is_last(data.get("choices"))
            if self.strips_usage:
                return self._stripped(data, line)
        return line

    def _stripped(self, data: dict[str, Any], line: bytes) -> bytes:
        if not data.get("choices") and data["usage"] is not None:
            self._dropping = True  # and the blank line that ends the event
            return b""
        end = line.rstrip()
        if end.endswith(_NULL_AT_END):
            return end[: -len(_NULL_AT_END)] + b"}" + line[len(end) :]
        try:
            return b"data: " + orjson.dumps({k: v for k, v in data.items() if k != "usage"}) + line[len(end) :]
        except orjson.JSONEncodeError:  # nested deeper than can be written: it passes as it is
            return line

    def _learn(self, data: dict[str, Any]) -> None:
        if isinstance(model := data.get("model"), str):
            self.model = model
        if (tier := data.get("service_tier")) is not None:
            self.tier = tier
        if isinstance(provider := data.get("provider"), str):
            self.provider = provider

    def _learn_anthropic(self, data: dict[str, Any]) -> None:
        """Counts are cumulative: what `message_delta` says replaces what `message_start` said, unless it is less."""
        message = data.get("message")
        if isinstance(message, dict):
            self._learn(message)
        usage = message.get("usage") if isinstance(message, dict) else data.get("usage")
        if isinstance(usage, dict):
            self._closes = data.get("type") == "message_delta"
            known = self.usage or {}
            more = {k: v for k, v in usage.items() if v is not None and not _is_less(v, known.get(k))}
            self.usage = {**known, **more}


def _tokens(usage: dict[str, Any]) -> int:
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return sum(count for count in counts if isinstance(count, int))


def _is_less(count: object, known: object) -> bool:
    """Some proxies repeat a count as 0 at the end."""
    return isinstance(count, int) and isinstance(known, int) and 0 <= count < known


def _is_last(choices: object) -> bool:
    """Whether a chunk with usage ends the answer: it has no choices, or says why they ended."""
    if not isinstance(choices, list) or not choices:
        return True
    return all(isinstance(choice, dict) and choice.get("finish_reason") is not None for choice in choices)


def _data(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a `data:` line; None for anything else, such as `[DONE]`."""
    if not line.startswith(b"data:"):
        return None
    try:
        data = orjson.loads(line[5:])
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def _texts(dialect: Dialect, data: dict[str, Any] | None) -> Iterator[str]:
    """What the model wrote in one event: text, thoughts, arguments of tool calls."""
    if data is None:
        return
    choices = _objects(data.get("choices"))
    deltas = [data.get("delta")] if dialect == "anthropic" else [each.get("delta") for each in choices]
    for delta in deltas:
        if isinstance(delta, dict):
            yield from (value for value in _strings(delta) if value)


def _strings(delta: dict[str, Any]) -> Iterator[str]:
    for name in ("content", "reasoning_content", "reasoning", "refusal", "text", "thinking", "partial_json"):
        if isinstance(value := delta.get(name), str):
            yield value
    for tool in _objects(delta.get("tool_calls")):
        function = tool.get("function")
        if isinstance(function, dict) and isinstance(value := function.get("arguments"), str):
            yield value


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects in a list; nothing of anything else."""
    return (each for each in (value if isinstance(value, list) else ()) if isinstance(each, dict))
