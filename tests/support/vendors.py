"""Providers that bill the worst their own documents allow, written from those documents and not from our tables.

A token a byte of text, the formulas for pictures as published, the largest instructions listed for tools, and results
of server tools that fill the context window in every turn.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any, Final

TOOL_PROMPTS: Final[Mapping[str, int]] = {
    "claude-haiku-4-5": 588,
    "claude-opus-4-7": 804,
    "claude-sonnet-4-5": 588,
    "claude-opus-4-6": 589,
}
DEFINED_TOOLS: Final[Mapping[str, int]] = {
    "bash_20250124": 245,
    "text_editor_20250728": 700,
    "computer_20250124": 735 + 499,
}


def text_tokens(value: Any) -> int:
    """Every byte of every text a token, but for media; keys of objects that become text, too."""
    if isinstance(value, str):
        return 0 if value.startswith("data:") else len(value.encode())
    if isinstance(value, dict):
        kind = value.get("type")
        if kind in {"image_url", "image", "input_audio", "file", "document"}:
            return 0
        return sum(len(key.encode()) + text_tokens(each) for key, each in value.items())
    return sum(map(text_tokens, value)) if isinstance(value, list) else 4


def openai_picture(model: str, width: int, height: int, detail: str) -> int:
    """The guide "Images and vision", "Calculating costs"."""
    patched = {"gpt-4.1-mini": 1.62, "gpt-4.1-nano": 2.46, "o4-mini": 1.72, "gpt-5-mini": 1.62, "gpt-5-nano": 2.46}
    if model in patched:
        patches = min(ceil(width / 32) * ceil(height / 32), 1536)
        return ceil(patches * patched[model])
    base, tile = {"gpt-4o-mini": (2833, 5667), "o1": (75, 150), "gpt-5": (70, 140)}.get(model, (85, 170))
    if detail == "low":
        return base
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return base + tile * ceil(round(width * scale, 6) / 512) * ceil(round(height * scale, 6) / 512)


def anthropic_picture(model: str, width: int, height: int) -> int:
    """The guide "Images and vision": patches of 28 pixels, within a long edge and a number of patches."""
    edge, most = (2576, 4784) if model == "claude-opus-4-7" else (1568, 1600)
    scale = min(1.0, edge / max(width, height))
    return min(ceil(width * scale / 28) * ceil(height * scale / 28), most)


def gemini_picture(width: int, height: int) -> int:
    """ "Understand and count tokens": 258 a tile of 768, or for a picture of at most 384 on both sides."""
    if width <= 384 and height <= 384:
        return 258
    unit = max(256, min(768, int(min(width, height) / 1.5)))
    return min(258 * ceil(width / unit) * ceil(height / unit), 256 + 2048)


def sound_tokens(seconds: float, provider: str) -> int:
    """A token for 100 ms at OpenAI, 32 a second at Google."""
    return ceil(seconds * (32 if provider == "google" else 10))
