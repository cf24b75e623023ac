"""Whatever a caller sends: a call whose parts an event can carry, or a refusal that names the field. Never an error."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import anthropic, openai
from gateway.dialects.call import read
from gateway.dialects.name import is_name
from gateway.dialects.providers import table_of
from gateway.errors import BadCall

PROVIDERS = ("openai", "anthropic", "google", "mistral", "openrouter", "perplexity")
KINDS = sorted(
    filter(None, {*openai.PARTS, *openai.TOOLS, *anthropic.BLOCKS, *anthropic.TOOLS, "base64", "url", "file"})
)
NAMES = sorted({name for at in PROVIDERS for name in table_of("openai", at).names | anthropic.BODY.names})
INNER = ["content", "source", "image_url", "file", "input_audio", "tool", "definition", "data", "url", "id", "max_uses"]

scalars = st.none() | st.booleans() | st.integers(-5, 1 << 40) | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.sampled_from([*INNER, "type", "TYPE", "model"]) | st.text(max_size=3)
values = st.recursive(
    scalars | st.sampled_from(["data:image/png;base64,AAAA", "data:application/pdf;base64,", "auto", "a/b:online"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.builds(lambda kind, rest: {"type": kind, **rest}, st.sampled_from(KINDS), st.dictionaries(keys, inner))
    ),
    max_leaves=12,
)
messages = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": values}), min_size=1, max_size=3)
bodies = st.builds(
    lambda most, rest: {"model": "m", "messages": most, **rest},
    messages,
    st.dictionaries(st.sampled_from([n for n in NAMES if n not in {"model", "messages"}]), values, max_size=5),
)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@given(body=bodies)
def test_a_body_is_read_or_refused_with_its_field(dialect: Any, provider: str, body: dict[str, Any]) -> None:
    made, field = None, None
    try:
        made = read(dialect, orjson.dumps(body), {}, max_tokens_limit=1_000_000, provider=provider)
    except BadCall as refused:
        field = refused.param
    assert made or field
    if made:
        assert all(is_name(each) for each in (made.model, *made.candidates))
        assert all(each is None or is_name(each) for each in (made.service_tier, made.speed, made.geography))
        assert 0 < made.content.text_bytes <= len(made.written)
