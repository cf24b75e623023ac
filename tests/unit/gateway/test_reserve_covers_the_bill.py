"""No provider that bills the worst its vendor's documents allow bills more than was held for the call."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.pricing import Catalogue, Charge, Usage, price
from farebox.pricing.capacity import capacity_of
from gateway.admission.bounds import DEFAULT_OUTPUT_TOKENS, bounds, limited
from gateway.admission.estimate import Estimate, estimate
from gateway.dialects.call import read
from gateway.upstreams.directory import Dialect
from gateway.vendors.anthropic import SEARCHES
from gateway.vendors.directory import traits_of
from support.vendors import (
    DEFINED_TOOLS,
    TOOL_PROMPTS,
    anthropic_picture,
    gemini_picture,
    openai_picture,
    sound_tokens,
    text_tokens,
)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
CATALOGUE = Catalogue()
MODELS = {
    "openai": ("gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-nano", "gpt-4.1-mini", "o1"),
    "anthropic": tuple(TOOL_PROMPTS),
    "google": ("gemini-2.5-flash", "gemini-2.5-pro"),
}


@dataclass
class Asked:
    """A call, and the worst its vendor makes of it: tokens in beside its text, turns of its own, what it is told."""

    provider: str
    body: dict[str, Any]
    images: int = 0
    audio: int = 0
    fills_window: bool = False
    tools: int = 0
    searches: int = 0
    turns: int = 0

    @property
    def dialect(self) -> Dialect:
        return "anthropic" if self.provider == "anthropic" else "openai"


words = st.text(max_size=80)
sides = st.sampled_from((1, 384, 500, 769, 1_600, 2_048, 8_000))


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    provider = draw(st.sampled_from(sorted(MODELS)))
    call = Asked(provider, {"model": draw(st.sampled_from(MODELS[provider]))})
    call.body["messages"] = [
        {"role": "user", "content": [_part(draw, call) for _ in range(draw(st.integers(1, 4)))]}
        for _ in range(draw(st.integers(1, 3)))
    ]
    if draw(st.booleans()) or provider == "anthropic":
        call.body["max_tokens"] = draw(st.integers(1, 5_000))
    _offer_tools(draw, call)
    if provider == "openai":
        call.body["n"] = draw(st.integers(1, 3))
    if provider == "anthropic" and draw(st.booleans()):
        call.body["system"] = [{"type": "text", "text": draw(words), "cache_control": {"type": "ephemeral"}}]
    return call


def _part(draw: st.DrawFn, call: Asked) -> dict[str, Any]:
    kind = draw(st.sampled_from(("text", "text", "picture", "sound", "document")))
    if kind == "picture":
        return _picture(draw, call, draw(sides), draw(sides))
    if kind == "sound" and call.provider == "google":
        data = b"0" * draw(st.integers(0, 20_000))
        call.audio += sound_tokens(len(data) / 1_000, call.provider)  # an MP3 at 8 kbit/s
        return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": "mp3"}}
    if kind == "document":
        call.fills_window = True
        if call.provider == "anthropic":
            return {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}
        return {"type": "file", "file": {"file_id": "file-1"}}
    return {"type": "text", "text": draw(words)}


def _picture(draw: st.DrawFn, call: Asked, width: int, height: int) -> dict[str, Any]:
    data, model = base64.b64encode(b"0" * draw(st.integers(1, 900))).decode(), call.body["model"]
    if call.provider == "anthropic":
        call.images += anthropic_picture(model, width, height)
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    detail = draw(st.sampled_from(("low", "high", "auto")))
    if call.provider == "google":
        call.images += gemini_picture(width, height)
    else:
        call.images += openai_picture(model, width, height, detail)
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": detail}}


def _offer_tools(draw: st.DrawFn, call: Asked) -> None:
    count = draw(st.integers(0, 3))
    if call.provider != "anthropic":
        function = {"name": "f", "parameters": {"type": "object"}}
        call.body |= {"tools": [{"type": "function", "function": function}] * count} if count else {}
        call.tools = 16 * count
        return
    tools: list[dict[str, Any]] = [{"name": f"f{index}", "input_schema": {"type": "object"}} for index in range(count)]
    for kind in draw(st.sets(st.sampled_from(sorted(DEFINED_TOOLS)))):
        tools.append({"type": kind, "name": kind.partition("_2")[0]})
        call.tools += DEFINED_TOOLS[kind]
    if draw(st.booleans()):
        stated = draw(st.none() | st.integers(1, 5))
        call.searches = call.turns = stated or SEARCHES
        tools.append({"type": "web_search_20250305", "name": "web_search", "max_uses": stated})
    if tools:
        call.body["tools"] = tools
        call.tools += TOOL_PROMPTS[call.body["model"]]


def bills(call: Asked, output: int, window: int) -> list[Usage]:
    """What the vendor may report: the same tokens, each time in another bucket that it may count them in."""
    text = (
        text_tokens(call.body["messages"]) + text_tokens(call.body.get("system")) + text_tokens(call.body.get("tools"))
    )
    read_ = text + call.tools + 4 * len(call.body["messages"]) + 3
    if call.fills_window:
        read_ = max(read_, window - call.images - call.audio)
    read_ += call.turns * window
    caches = call.dialect == "anthropic" and (call.turns or b"cache_control" in orjson.dumps(call.body))
    buckets = ("input", "cache_read", "cache_write_5m") if caches else ("input", "cache_read")
    out = output * call.body.get("n", 1)
    tools = {"web_search": call.searches} if call.searches else {}
    return [
        Usage.model_validate(
            {bucket: read_, media: call.images, made: out, "audio_in": call.audio, "tool_calls": tools}
            if media != bucket
            else {bucket: read_ + call.images, made: out, "audio_in": call.audio, "tool_calls": tools}
        )
        for bucket in buckets
        for media in ("input", "image_in")
        for made in ("output", "reasoning", "image_out")
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked())
def test_no_bill_that_the_vendors_documents_allow_is_above_the_reserve(call: Asked) -> None:
    made = read(call.dialect, orjson.dumps(call.body), {}, max_tokens_limit=10**6, provider=call.provider)
    capacity = capacity_of(call.provider, made.model)
    found = bounds(made, made.model, traits_of(call.provider, made.model), capacity)
    assert not found.unbounded
    assert not found.open_tool
    longest = capacity.output or capacity.context
    held = limited(found, made, longest, default=DEFAULT_OUTPUT_TOKENS, clamps=False)
    rates = CATALOGUE.rates_for(call.provider, made.model, NOW)
    assert rates
    worst = estimate(rates, Decimal(1), held)
    assert isinstance(worst, Estimate), worst
    assert capacity.context
    for usage in bills(call, held.output, capacity.context):
        charge = price(rates, usage)
        assert not isinstance(charge, Charge) or charge.cost_nano_usd <= worst.cost_nano_usd, usage
        assert usage.total <= worst.amount.tokens
