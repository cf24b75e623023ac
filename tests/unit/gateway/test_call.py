import json
from typing import Any

import orjson
import pytest

from gateway.dialects.call import Call, read
from gateway.errors import BadCall

MESSAGES = [{"role": "user", "content": "hi"}]


def call(dialect: Any = "openai", headers: dict[bytes, bytes] | None = None, **fields: Any) -> Call:
    body = {"model": "gpt-4o", "messages": MESSAGES, **fields}
    return read(dialect, json.dumps(body).encode(), headers or {}, max_tokens_limit=1000)


def sent(made: Call, limit: int) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(made.sent(output_limit=limit, limit_field="max_tokens"))
    return body


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[1]", None),
        (b'{"messages": []}', "model"),
        (b'{"model": 7}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": ["hi"]}', "messages"),
    ],
)
def test_a_body_that_is_no_call_is_refused_with_its_field(raw: bytes, param: str | None) -> None:
    with pytest.raises(BadCall) as refused:
        read("openai", raw, {}, max_tokens_limit=1000)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"max_tokens": 1001},
        {"max_completion_tokens": 10**30},
        {"max_tokens": True},
        {"max_tokens": "7"},
        {"n": 0},
        {"n": 129},
        {"stream": "yes"},
        {"stream_options": []},
        {"service_tier": 1},
    ],
)
def test_figures_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadCall):
        call(**fields)


def test_a_call_goes_out_written_anew_and_never_as_its_callers_bytes() -> None:
    raw = b' {"model": "m", "messages": [{"role": "user", "content": "ch\\u00e0o"}], "max\\u005ftokens" : 9} '
    made = read("openai", raw, {}, max_tokens_limit=1000)
    sent = '{"model":"m","messages":[{"role":"user","content":"chào"}],"max_tokens":9}'.encode()
    assert made.sent(output_limit=9, limit_field="max_tokens") == sent


def test_a_call_without_a_limit_gets_one_and_keeps_the_rest_as_it_was() -> None:
    made = call(unknown_field={"a": [1, None]})
    assert sent(made, 64) == {**made.body, "max_tokens": 64}
    assert made.sent(output_limit=64, limit_field="max_tokens").endswith(made.written[1:])


def test_a_limit_is_lowered_where_the_caller_put_it() -> None:
    made = call(max_completion_tokens=100)
    assert sent(made, 20)["max_completion_tokens"] == 20
    assert "max_tokens" not in sent(made, 20)


def test_words_that_need_no_change_are_sent_as_they_are() -> None:
    made = call(max_tokens=5)
    assert made.sent(output_limit=None, limit_field="max_tokens") == made.written


def test_an_absent_tier_is_added_and_nothing_else() -> None:
    made = call(max_tokens=5)
    body = orjson.loads(made.sent(output_limit=None, limit_field="max_tokens", service_tier="default"))
    assert body == {**made.body, "service_tier": "default"}


def test_a_stream_is_asked_for_its_usage() -> None:
    assert sent(call(stream=True, max_tokens=5), 5)["stream_options"] == {"include_usage": True}
    kept = sent(call(stream=True, max_tokens=5, stream_options={"include_obfuscation": False}), 5)
    assert kept["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_the_greater_of_two_limits_is_reserved_for() -> None:
    assert call(max_tokens=10, max_completion_tokens=20).output_limit == 20


def test_attribution_comes_from_headers() -> None:
    made = call(
        headers={
            b"x-farebox-session": "phiên-1".encode(),
            b"x-farebox-feature": b"qa_chat",
            b"x-farebox-tags": b"team=a, env = b",
            b"x-farebox-cache-hit": b"true",
        }
    )
    assert made.attribution.session == "phiên-1"
    assert made.attribution.feature == "qa_chat"
    assert dict(made.attribution.tags) == {"team": "a", "env": "b"}
    assert made.attribution.cache_hit


@pytest.mark.parametrize("value", [b"\xff", b"x" * 300, b"a\x00b", "a\u2028b".encode()])
def test_attribution_that_no_event_could_carry_is_refused(value: bytes) -> None:
    for headers in ({b"x-farebox-session": value}, {b"x-farebox-tags": b"name=" + value}):
        with pytest.raises(BadCall):
            call(headers=headers)


@pytest.mark.parametrize("model", ["m\x00", "m\n", "m" * 257, ""])
def test_a_model_that_no_event_could_carry_is_refused(model: str) -> None:
    with pytest.raises(BadCall):
        call(model=model)


@pytest.mark.parametrize(("dialect", "provider"), [("openai", "openai"), ("anthropic", "openrouter")])
def test_a_limit_of_zero_is_refused_where_it_may_mean_none(dialect: Any, provider: str) -> None:
    raw = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0})
    with pytest.raises(BadCall):
        read(dialect, raw, {}, max_tokens_limit=9, provider=provider)


def test_a_number_of_searches_is_stated_where_the_caller_states_none() -> None:
    search, own = {"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {}}
    made = call("anthropic", tools=[own, search])
    sent_tools = orjson.loads(made.sent(output_limit=None, limit_field="max_tokens", search_uses=5))["tools"]
    assert sent_tools == [own, {**search, "max_uses": 5}]
