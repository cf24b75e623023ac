"""What the tables say of a body: one test a rule, rows as callers send them."""

import base64
from typing import Any

import orjson
import pytest

from gateway.dialects.call import Call, read
from gateway.dialects.content import Audio, Document, Image, Video
from gateway.dialects.providers import table_of
from gateway.dialects.table import Meaning
from gateway.errors import BadCall

PICTURE = "data:image/png;base64," + base64.b64encode(bytes(300)).decode()
PDF = base64.b64encode(bytes(900)).decode()
PDF_URL = f"data:application/pdf;base64,{PDF}"


def call(dialect: Any = "openai", at: str = "", content: Any = "hi", **fields: Any) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    return read(dialect, orjson.dumps(body), {}, max_tokens_limit=100_000, provider=at or dialect)


def refusal(dialect: Any = "openai", **fields: Any) -> BadCall:
    with pytest.raises(BadCall) as refused:
        call(dialect, **fields)
    return refused.value


READ_BY_NAME = {"n", "max_tokens", "max_completion_tokens", "service_tier", "speed", "inference_geo", "cache_control"}


@pytest.mark.parametrize("provider", ["", "google", "groq", "mistral", "openrouter", "perplexity", "x-ai"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_what_is_not_harmless_is_read(dialect: Any, provider: str) -> None:
    table = table_of(dialect, provider)
    felt = {name for name, meaning in table.meanings.items() if meaning is not Meaning.HARMLESS}
    assert felt - {name for name, *_ in table.below} <= READ_BY_NAME


@pytest.mark.parametrize("name", ["MAX_TOKENS", "Max_Tokens", "Model", "N", "Messages", "to\u212aens", "mes\u017fages"])
def test_a_key_that_differs_from_a_known_one_by_case_alone_is_refused(name: str) -> None:
    fields = {name: 5} if "k" not in name.casefold() or "_" in name else {"max_" + name: 5}
    assert refusal(**fields).param == next(iter(fields))


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ([{"type": "text", "text": "a", "Text": "b"}], "messages[0].content[0].Text"),
        ([{"Type": "image_url", "image_url": {"url": "http://x"}}], "messages[0].content[0].Type"),
        ([{"type": "image_url", "image_url": {"URL": "http://x"}}], "messages[0].content[0].image_url.URL"),
    ],
)
def test_so_is_one_inside_of_a_message(content: Any, field: str) -> None:
    assert refusal(content=content).param == field


def test_keys_of_the_callers_own_may_be_written_as_they_like() -> None:
    schema = {"type": "object", "properties": {"Type": {}, "MODEL": {}, "model": {}}}
    made = call(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}], metadata={"Model": "x"})
    assert made.unbounded == ()


@pytest.mark.parametrize(
    ("dialect", "fields", "path"),
    [
        ("openai", {"best_of": 20}, "best_of"),
        ("openai", {"models": ["gpt-4o"]}, "models"),
        ("openai", {"plugins": [{"id": "web"}]}, "plugins"),
        ("openai", {"tools": [{"type": "web_search"}]}, "tools[0]:web_search"),
        ("openai", {"moderation": {"model": "gpt-6-astra"}}, "moderation.model"),
        ("openai", {"web_search_options": {"depth": 9}}, "web_search_options.depth"),
        ("anthropic", {"tools": [{"type": "web_search_2099"}]}, "tools[0]:web_search_2099"),
        ("anthropic", {"context_management": {"edits": [{"type": "new"}]}}, "context_management.edits[0]:new"),
        ("anthropic", {"fallbacks": "default"}, "fallbacks:default"),
        ("anthropic", {"fallbacks": [{"model": "b", "max_tokens": 99}]}, "fallbacks[0].max_tokens"),
    ],
)
def test_what_no_table_knows_is_noted_with_its_path(dialect: str, fields: dict[str, Any], path: str) -> None:
    assert call(dialect, **fields).unbounded == (path,)


@pytest.mark.parametrize(
    ("dialect", "part", "path"),
    [
        ("openai", {"type": "input_file", "file_url": "http://x"}, "messages[0].content[0]:input_file"),
        ("openai", {"type": 5}, "messages[0].content[0]:5"),
        ("openai", {"image": "x"}, "messages[0].content[0]"),
        ("openai", {"type": "text", "text": "a", "file_id": "f"}, "messages[0].content[0].file_id"),
        ("anthropic", {"type": "video", "source": {}}, "messages[0].content[0]:video"),
        ("anthropic", {"type": "image", "source": {"type": "s3"}}, "messages[0].content[0].source:s3"),
        ("anthropic", {"type": "tool_result", "content": [{"type": "film"}]}, "messages[0].content[0].content[0]:film"),
    ],
)
def test_so_is_a_part_of_unknown_kind_at_any_depth(dialect: str, part: dict[str, Any], path: str) -> None:
    assert call(dialect, content=[part]).unbounded == (path,)


@pytest.mark.parametrize(
    ("part", "medium"),
    [
        ({"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}, Image(300, "low")),
        ({"type": "image_url", "image_url": PICTURE}, Image(300)),
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, Image(None)),
        ({"type": "image_url", "image_url": {"url": PDF_URL}}, Document(900, "application/pdf")),
        ({"type": "input_audio", "input_audio": {"data": PDF, "format": "wav"}}, Audio(900, "wav")),
        ({"type": "file", "file": {"file_data": PDF_URL}}, Document(900, "application/pdf")),
        ({"type": "file", "file": {"file_id": "file-1"}}, Document(None)),
        ({"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}, Video(None)),
    ],
)
def test_a_medium_is_taken_for_what_it_is(part: dict[str, Any], medium: Any) -> None:
    content = call(content=[part]).content
    assert (*content.images, *content.documents, *content.audio, *content.videos) == (medium,)
    assert content.references == (medium.inline_bytes is None and not isinstance(medium, Image))


@pytest.mark.parametrize(
    ("source", "medium"),
    [
        ({"type": "base64", "media_type": "image/png", "data": PDF}, Image(900)),
        ({"type": "url", "url": "https://x"}, Image(None)),
        ({"type": "file", "file_id": "f"}, Image(None)),
    ],
)
def test_a_picture_in_a_tools_result_is_found(source: dict[str, Any], medium: Image) -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source}]}
    assert call("anthropic", content=[result]).content.images == (medium,)


def test_a_document_in_a_fetched_page_in_a_document_is_found() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://x"}}
    document = {"type": "document", "source": {"type": "content", "content": [picture]}}
    fetched = {"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result", "content": document}}
    assert call("anthropic", content=[fetched]).content.images == (Image(None),)


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("anthropic", {"content": [{"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}]}),
        ("anthropic", {"content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}),
        ("anthropic", {"content": [{"type": "container_upload", "file_id": "f"}]}),
        ("anthropic", {"container": "container_1"}),
        ("openai", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
        ("openai", {"content": [{"type": "file", "file": {"file_data": "data:application/zip;base64,AAAA"}}]}),
    ],
)
def test_what_has_no_known_size_is_a_reference(dialect: str, fields: dict[str, Any]) -> None:
    made = call(dialect, **fields)
    assert (made.content.references, made.unbounded) == (1, ())


def test_the_base64_of_media_is_no_text_and_all_else_is() -> None:
    empty = call(content=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}])
    made = call(content=[{"type": "image_url", "image_url": {"url": PICTURE}}])
    assert made.content.text_bytes == empty.content.text_bytes == len(made.written) - 400


def test_a_text_file_in_base64_is_text() -> None:
    made = call(content=[{"type": "file", "file": {"file_data": f"data:text/plain;base64,{PDF}"}}])
    assert made.content.text_bytes == len(made.written)


def test_tools_are_told_apart_by_who_runs_them() -> None:
    offered = [
        {"name": "f", "input_schema": {}},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "web_fetch_20250910", "name": "web_fetch", "max_content_tokens": 900},
        {"type": "computer_20250124", "name": "computer", "display_width_px": 9, "display_height_px": 9},
    ]
    tools = call("anthropic", tools=offered, tool_choice={"type": "any"}).tools
    assert dict(tools.server) == {"web_search": 3, "web_fetch": None, "computer": None}
    assert (tools.functions, tools.fetch_tokens, tools.choice) == (1, 900, "any")


def test_a_tool_that_a_message_adds_is_offered_too() -> None:
    definition = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}}
    assert dict(call("anthropic", content=[added]).tools.server) == {"web_search": 2}


@pytest.mark.parametrize("uses", [0, -1, "3", 1.5, True])
def test_a_number_of_uses_that_makes_no_sense_is_refused(uses: Any) -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": uses}
    assert refusal("anthropic", tools=[tool]).param == "tools[0].max_uses"


@pytest.mark.parametrize(
    ("dialect", "provider", "fields", "names"),
    [
        ("openai", "openrouter", {"models": ["a", "b"], "route": "fallback"}, ("a", "b")),
        ("anthropic", "openrouter", {"models": ["a"]}, ("a",)),
        ("anthropic", "anthropic", {"fallbacks": [{"model": "b"}, {"model": "c"}]}, ("b", "c")),
        ("anthropic", "anthropic", {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "d"}]}, ("d",)),
    ],
)
def test_every_model_that_may_answer_is_named(
    dialect: str, provider: str, fields: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert call(dialect, provider, **fields).candidates == names


@pytest.mark.parametrize("models", [["a", 5], ["a\n"], "a", [f"m{i}" for i in range(17)]])
def test_a_list_of_models_that_makes_no_sense_is_refused(models: Any) -> None:
    assert "models" in str(refusal(at="openrouter", models=models).param)


@pytest.mark.parametrize("model", ["openrouter/auto", "openai/gpt-4o@preset/mine"])
def test_a_name_behind_which_any_model_may_stand_is_noted(model: str) -> None:
    assert call(at="openrouter", model=model).unbounded == (f"model:{model}",)
    assert call(at="openrouter", models=[model]).unbounded == (f"models[0]:{model}",)


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        ("openai", {"web_search_options": {}}),
        ("x-ai", {"search_parameters": {"mode": "auto"}}),
        ("openrouter", {"model": "openai/gpt-4o:online"}),
        ("openrouter", {"plugins": [{"id": "web", "max_results": 3}]}),
        ("perplexity", {}),
    ],
)
def test_a_call_whose_answer_is_searched_for_says_so(provider: str, fields: dict[str, Any]) -> None:
    made = call(at=provider, **fields)
    assert (made.searches, made.unbounded) == (True, ())


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        ("deepseek", {"thinking": {"type": "enabled"}}),
        ("mistral", {"safe_prompt": True, "content": [{"type": "document_url", "document_url": "x"}]}),
        ("google", {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}}}),
        ("openrouter", {"reasoning": {"effort": "low"}, "usage": {"include": True}, "provider": {"zdr": True}}),
        ("groq", {"reasoning_format": "parsed"}),
    ],
)
def test_a_provider_has_fields_of_its_own(provider: str, fields: dict[str, Any]) -> None:
    assert call(at=provider, **fields).unbounded == ()
    assert call(at="openai", **fields).unbounded != ()


def test_behind_geminis_links_may_be_any_medium() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://x/y"}}
    assert call(at="google", content=[part]).content.references == 1


def test_media_to_make_and_answers_foretold_are_noted() -> None:
    made = call(
        modalities=["text", "audio"],
        audio={"voice": "ash", "format": "wav"},
        prediction={"type": "content", "content": "x"},
    )
    assert (set(made.makes), made.predicts) == ({"audio"}, True)


def test_speed_tier_and_region_are_what_the_caller_states() -> None:
    made = call("anthropic", speed="fast", service_tier="auto", inference_geo="us")
    assert (made.speed, made.service_tier, made.geography) == ("fast", "auto", "us")


@pytest.mark.parametrize("name", ["service_tier", "speed", "inference_geo"])
@pytest.mark.parametrize("value", ["flex\u0000", "", "x" * 65, "a b", "é", 1, ["flex"]])
def test_a_word_that_no_event_should_carry_is_refused(name: str, value: Any) -> None:
    assert refusal("anthropic", **{name: value}).param == name


@pytest.mark.parametrize(
    ("dialect", "fields", "writes"),
    [
        ("openai", {}, True),
        ("openai", {"prompt_cache_options": {"mode": "explicit"}}, False),
        ("openai", {"model": "anthropic/claude-opus-5"}, False),
        ("anthropic", {}, False),
        ("anthropic", {"cache_control": {"type": "ephemeral"}}, True),
    ],
)
def test_newer_models_of_openais_write_their_cache_unasked(dialect: str, fields: dict[str, Any], writes: bool) -> None:
    assert call(dialect, **fields).writes_cache is writes


def test_so_may_a_second_model_of_theirs() -> None:
    assert call(at="openrouter", model="anthropic/claude-opus-5", models=["openai/gpt-6-sol"]).writes_cache


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(10_001)]},
        {"tools": {}},
        {"messages": [{"role": "user", "content": ""}] * 100_001},
        {f"x{i}": 1 for i in range(65)},
    ],
)
def test_more_than_any_caller_needs_is_refused(fields: dict[str, Any]) -> None:
    assert refusal(**fields).http_status == 400


def test_a_second_search_and_one_that_a_message_adds_have_to_state_their_uses() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": search}}
    stated = {**search, "max_uses": 2}
    for tools in ([search, search], [stated, search], [search, stated]):
        assert call("anthropic", tools=tools).unbounded == ("tools[1]:web_search_20250305",)
    assert call("anthropic", tools=[stated, stated]).unbounded == ()
    assert len(call("anthropic", content=[added]).unbounded) == 1
