"""OpenAI's table."""

from typing import Final

from gateway.vendors.vendor import ByModel, Vendor

_TILES: Final = 8
"""A picture is scaled into 2,048 × 2,048 and then to 768 on its shorter side, and cut into squares of 512: 4 × 2."""
_PATCHES: Final = 1_536
_PATCHES_IN_ORIGINAL: Final = 10_000

_IMAGES: Final[ByModel[int]] = (
    ("gpt-4o-mini*", 2_833 + _TILES * 5_667),
    ("gpt-4o*", 85 + _TILES * 170),
    ("chatgpt-4o*", 85 + _TILES * 170),
    ("gpt-4.1-mini*", _PATCHES * 162 // 100 + 1),
    ("gpt-4.1-nano*", _PATCHES * 246 // 100 + 1),
    ("gpt-4.1*", _PATCHES),
    ("gpt-4.5*", 85 + _TILES * 170),
    ("gpt-4-turbo*", 85 + _TILES * 170),
    ("gpt-4-vision*", 85 + _TILES * 170),
    ("o4-mini*", _PATCHES * 172 // 100 + 1),
    ("o1*", 75 + _TILES * 150),
    ("o3*", 75 + _TILES * 150),
    ("gpt-5-mini*", _PATCHES * 162 // 100 + 1),
    ("gpt-5-nano*", _PATCHES * 246 // 100 + 1),
    ("gpt-5", 70 + _TILES * 140),
    ("gpt-5-2*", 70 + _TILES * 140),
    ("gpt-5-chat*", 70 + _TILES * 140),
    ("*", _PATCHES_IN_ORIGINAL * 246 // 100),
)

_SMALL_IMAGES: Final[ByModel[int]] = (
    ("gpt-4o-mini*", 2_833),
    ("gpt-4o*", 85),
    ("chatgpt-4o*", 85),
    ("gpt-4.5*", 85),
    ("gpt-4-turbo*", 85),
    ("gpt-4-vision*", 85),
    ("o1*", 75),
    ("o3*", 75),
    ("gpt-5", 70),
    ("gpt-5-2*", 70),
    ("gpt-5-chat*", 70),
)

_LIMIT_FIELD: Final[ByModel[str]] = (
    ("gpt-3.5*", "max_tokens"),
    ("gpt-4*", "max_tokens"),
    ("chatgpt-4o*", "max_tokens"),
    ("ft:gpt-3.5*", "max_tokens"),
    ("ft:gpt-4*", "max_tokens"),
    ("*", "max_completion_tokens"),
)

OPENAI: Final = Vendor(
    images=_IMAGES,
    small_images=_SMALL_IMAGES,
    audio_bytes=50,
    tool_prompt=256,
    each_tool=32,
    searching=(("gpt-4o*-search*", False), ("*-search-*", True)),
    limit_field=_LIMIT_FIELD,
    takes_either_limit=True,
    standard_tier="default",
)
"""Sources: the guide "Images and vision", section "Calculating costs" (tiles for 4o, 4.1, 4.5, 5 and o-series; patches
with a factor for the small ones; `detail: original` of newer models, 10,000 patches, held for at the largest factor
listed where a model is not); the guide "Audio" (a token for 100 ms of a caller's sound; an MP3 has at least 8 kbit/s,
which is 100 bytes for 100 ms, and half of that is held for); "Function calling" (tools become text of the system
message, shorter than their JSON); "Pricing" (what search models find costs nothing beside the fee with gpt-4o, input
elsewhere); the API reference (`max_tokens` is refused by reasoning models; `service_tier` absent is the project's
default, which may be priority)."""

AZURE: Final = OPENAI._replace(standard_tier=None)
"""Deployments of OpenAI's models; a tier is a property of the deployment."""

RESOLD: Final = Vendor(
    images=_IMAGES,
    small_images=_SMALL_IMAGES,
    audio_bytes=OPENAI.audio_bytes,
    searching=OPENAI.searching,
)
"""OpenAI's models at resellers, whose tiers and fields are their own."""
