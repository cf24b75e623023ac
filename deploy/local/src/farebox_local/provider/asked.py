"""What a caller's request says, in either dialect."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of a request that decide its answer. `text` is all message text, in order.

    `user` is the caller's own name for its end user (OpenAI's `user`, Anthropic's `metadata.user_id`).
    """

    model: str
    text: str
    max_tokens: int | None
    choices: int
    stream: bool
    include_usage: bool
    user: str | None = None


def flat_text(messages: Iterable[Any]) -> str:
    """All text of messages whose content is a string or an array of parts. Other parts count for nothing."""
    pieces: list[str] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        pieces += [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "".join(pieces)


def text_or_none(value: Any) -> str | None:
    """The value if it is a string."""
    return value if isinstance(value, str) else None


def positive(name: str, value: Any) -> int:
    """The value as an integer ≥ 1. Raises ValueError with a sentence."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}: an integer of at least 1 is required")
    return value
