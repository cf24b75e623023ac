"""What a call can use at most, by what it says and by what its vendor documents."""

import base64
import json
from typing import Any

import orjson
import pytest

from farebox.pricing.capacity import Capacity, capacity_of
from gateway.admission.bounds import DEFAULT_OUTPUT_TOKENS, PRIMING_TOKENS, Bounds, bounds, limited
from gateway.dialects.call import Call, read
from gateway.upstreams.directory import Dialect
from gateway.vendors.directory import traits_of

PHOTO = base64.b64encode(b"\xff" * 750_000).decode()
WINDOW = 200_000


def call(dialect: Dialect = "openai", **fields: Any) -> Call:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "xin chào"}], **fields}
    provider = "anthropic" if dialect == "anthropic" else "openai"
    return read(dialect, orjson.dumps(body), {}, max_tokens_limit=1_000_000, provider=provider)


def given(*parts: dict[str, Any], dialect: Dialect = "openai", **fields: Any) -> Call:
    return call(dialect, messages=[{"role": "user", "content": list(parts)}], **fields)


def bounded(made: Call, provider: str = "", capacity: Capacity | None = None) -> Bounds:
    provider = provider or ("anthropic" if made.dialect == "anthropic" else "openai")
    capacity = capacity_of(provider, made.model) if capacity is None else capacity
    return bounds(made, made.model, traits_of(provider, made.model), capacity)


def text(made: Call) -> int:
    return made.content.text_bytes + PRIMING_TOKENS


def picture(detail: str = "high") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PHOTO}", "detail": detail}}


def test_no_tokeniser_makes_more_tokens_than_there_are_bytes() -> None:
    made = call()
    assert bounded(made).input == len(made.written) + PRIMING_TOKENS


def test_the_count_is_of_the_text_and_not_of_how_its_json_was_written() -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "xin chào các bạn ơi"}]}
    loose, plain = (
        read("openai", raw, {}, max_tokens_limit=9) for raw in (json.dumps(body, indent=8).encode(), orjson.dumps(body))
    )
    assert bounded(loose) == bounded(plain)


@pytest.mark.parametrize(
    ("model", "detail", "tokens"),
    [
        ("gpt-4o", "high", 1_445),
        ("gpt-4o", "low", 85),
        ("gpt-4o-mini", "high", 48_169),
        ("o1", "auto", 1_275),
        ("gpt-5", "high", 1_190),
        ("gpt-5-nano", "low", 3_779),
        ("gpt-99", "low", 24_600),
    ],
)
def test_a_photo_costs_its_models_most_and_not_its_bytes(model: str, detail: str, tokens: int) -> None:
    made = given(picture(detail), model=model)
    found = bounded(made)
    assert (found.input, found.exposure.image_in) == (text(made), tokens)
    assert found.input < 1_000


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-haiku-4-5", 1_600),
        ("claude-opus-4-20250514", 1_600),
        ("claude-opus-4-6", 1_600),
        ("claude-opus-4-7", 4_784),
        ("claude-opus-5-5", 4_784),
    ],
)
def test_a_photo_of_claudes_costs_what_its_resolution_allows(model: str, tokens: int) -> None:
    source = {"type": "base64", "media_type": "image/jpeg", "data": PHOTO}
    made = given({"type": "image", "source": source}, dialect="anthropic", model=model, max_tokens=9)
    assert bounded(made).exposure.image_in == tokens


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PHOTO}"}},
        {"type": "video_url", "video_url": {"url": "https://x/film.mp4"}},
    ],
)
def test_what_has_no_known_size_fills_what_is_left_of_the_window(part: dict[str, Any]) -> None:
    found = bounded(given(part), capacity=Capacity(WINDOW, 9_000))
    assert found.input == WINDOW
    assert {"audio_in", "image_in"} <= found.exposure.buckets


def test_what_is_read_is_at_least_what_is_shown_whatever_is_said_of_the_window() -> None:
    made = given({"type": "file", "file": {"file_id": "file-1"}}, {"type": "text", "text": "a" * 5_000})
    assert bounded(made, capacity=Capacity(1_000, 9)).input == text(made)


def test_a_sound_counts_by_its_length_at_the_lowest_bit_rate() -> None:
    sound = {"data": base64.b64encode(b"0" * 100_000).decode(), "format": "mp3"}
    made = given({"type": "input_audio", "input_audio": sound}, model="gpt-4o-audio-preview")
    assert 1_000 <= bounded(made).exposure.audio_in <= 2_001


def test_every_tool_comes_with_instructions_that_the_call_does_not_show() -> None:
    tool = {"name": "f", "input_schema": {"type": "object"}}
    made = call("anthropic", model="claude-haiku-4-5", max_tokens=1, tools=[tool])
    assert bounded(made).input >= text(made) + 804


@pytest.mark.parametrize(
    ("tool", "tokens"), [("computer_20250124", 735 + 499), ("bash_20250124", 245), ("text_editor_20250728", 700)]
)
def test_a_tool_the_vendor_defines_comes_with_its_definition(tool: str, tokens: int) -> None:
    made = call("anthropic", model="claude-haiku-4-5", max_tokens=1, tools=[{"type": tool, "name": tool[:4]}])
    assert bounded(made).input >= text(made) + 804 + tokens


def test_a_tool_the_vendor_runs_reads_the_window_anew_with_every_use() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    made = call("anthropic", model="claude-haiku-4-5", max_tokens=9, tools=[tool])
    found = bounded(made)
    assert found.exposure.tool_calls == (("web_search", 3),)
    assert found.input >= 3 * WINDOW
    assert "cache_write_5m" in found.exposure.buckets


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}, "tools:mcp"),
    ],
)
def test_a_tool_that_nothing_bounds_is_named(fields: dict[str, Any], said: str) -> None:
    made = call("anthropic", model="claude-haiku-4-5", max_tokens=9, **fields)
    assert bounded(made).open_tool == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "max_output_tokens"),
        ({"max_tokens": 9}, ""),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": [picture()]}]}, "context_window"),
    ],
)
def test_a_model_nobody_knows_is_bounded_where_the_call_itself_is(fields: dict[str, Any], said: str) -> None:
    found = bounded(call(model="in-house-7b", **fields), provider="in-house", capacity=Capacity(None, None))
    assert said in found.unbounded
    assert bool(said) == bool(found.unbounded)


@pytest.mark.parametrize("model", ["o4-mini-deep-research", "openai/o3-deep-research"])
def test_a_model_that_works_on_by_itself_has_no_bound(model: str) -> None:
    assert "by itself" in bounded(call(model=model, max_tokens=9), provider="openrouter").unbounded


@pytest.mark.parametrize(("model", "reads"), [("gpt-4o-search-preview", False), ("gpt-5-search-api", True)])
def test_a_searching_model_reads_what_it_finds_where_its_vendor_bills_that(model: str, reads: bool) -> None:
    found = bounded(call(model=model, max_tokens=9), capacity=Capacity(WINDOW, 9_000))
    assert found.searches
    assert (found.input >= WINDOW) == reads


def test_what_a_prediction_adds_to_the_bill_is_beside_the_limit() -> None:
    predicted = {"type": "content", "content": "a" * 100}
    assert bounded(call(prediction=predicted, max_tokens=9)).beside > 100


@pytest.mark.parametrize(
    ("fields", "tiers"),
    [
        ({}, frozenset()),
        ({"service_tier": "default"}, frozenset()),
        ({"service_tier": "priority"}, frozenset({"priority"})),
        ({"service_tier": "auto"}, None),
    ],
)
def test_a_tier_above_the_standard_one_is_held_for_where_it_is_asked_for(
    fields: dict[str, Any], tiers: frozenset[str] | None
) -> None:
    assert bounded(call(**fields)).exposure.service_tiers == tiers


def test_a_workspaces_own_geography_is_held_for_where_the_call_names_none() -> None:
    anywhere, stated = (
        bounded(call("anthropic", model="claude-opus-5-5", max_tokens=9, **fields))
        for fields in ({}, {"inference_geo": "global"})
    )
    assert anywhere.exposure.geographies is None
    assert stated.exposure.geographies == frozenset({"global"})


@pytest.mark.parametrize(
    ("stated", "longest", "default", "clamps", "output"),
    [
        (None, 64_000, DEFAULT_OUTPUT_TOKENS, False, DEFAULT_OUTPUT_TOKENS),
        (None, 8_000, DEFAULT_OUTPUT_TOKENS, False, 8_000),
        (None, 64_000, 500, False, 500),
        (None, None, 500, False, 500),
        (128_000, 64_000, 500, False, 128_000),
        (128_000, 64_000, 500, True, 64_000),
        (100, 64_000, 500, True, 100),
    ],
)
def test_a_limit_is_the_callers_or_the_least_of_the_models_and_the_accounts(
    stated: int | None, longest: int | None, default: int, clamps: bool, output: int
) -> None:
    fields: dict[str, Any] = {} if stated is None else {"max_tokens": stated}
    made = call(**fields)
    assert limited(bounded(made), made, longest, default=default, clamps=clamps).output == output


def test_anthropics_zero_is_a_limit_and_not_the_lack_of_one() -> None:
    assert bounded(call("anthropic", model="claude-haiku-4-5", max_tokens=0)).output == 0
