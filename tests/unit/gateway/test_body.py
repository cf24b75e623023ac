import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.body import parsed
from gateway.errors import BadCall

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(TEXTS, VALUES, max_size=4)


def refusal(raw: str) -> BadCall:
    with pytest.raises(BadCall) as refused:
        parsed(raw.encode())
    return refused.value


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ('{"model": "m", "n": 1, "n": 9}', "n"),
        ('{"max_tokens":1,"max\\u005ftokens":100000}', "max_tokens"),
        ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "messages[0].content"),
        ('{"tools":[{"a":{"b":1,"b":{"c":1}}}]}', "tools[0].a.b"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_with_its_path(raw: str, field: str) -> None:
    assert refusal(raw).param == field


@pytest.mark.parametrize(
    "number",
    [
        "123456789012345678901234",
        "18446744073709551616",
        "-9223372036854775809",
        "0.10000000000000000001",
        "1e400",
        "1e-400",
        "1e-320000000000",
        "NaN",
        "-Infinity",
        "1" + "0" * 5000,
    ],
)
def test_a_number_that_would_be_another_one_is_refused_with_its_field(number: str) -> None:
    assert refusal(f'{{"a": {{"seed": {number}}}}}').param == "a.seed"


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("1.0", "1.0"),
        ("1.10", "1.1"),
        ("1E2", "100.0"),
        ("18446744073709551615", "18446744073709551615"),
        ("0.69999999999999996", "0.7"),
        ("5e-324", "5e-324"),
        ("0e99999", "0.0"),
        ("-0.0", "-0.0"),
    ],
)
def test_a_number_keeps_its_value_and_a_float_stays_one(number: str, written: str) -> None:
    assert parsed(f'{{"a":{number}}}'.encode())[1] == f'{{"a":{written}}}'.encode()


def test_half_a_surrogate_pair_is_refused_with_its_field() -> None:
    assert refusal('{"messages": [{"content": "\\ud83d"}]}').param == "messages[0].content"


@pytest.mark.parametrize("raw", ["", "{", "[1]", "null", '{"a": 1e400, ', "[" * 5000, '{"a":' * 300 + "1" + "}" * 300])
def test_what_is_no_json_object_or_nested_too_deeply_is_refused(raw: str) -> None:
    assert refusal(raw).http_status == 400


def test_an_escaped_key_is_the_same_key() -> None:
    assert parsed(b'{"max\\u005ftokens": 5}') == ({"max_tokens": 5}, b'{"max_tokens":5}')


@given(BODIES)
def test_a_body_is_the_same_however_its_json_was_written(body: dict[str, Any]) -> None:
    for raw in (orjson.dumps(body), json.dumps(body, indent=3).encode(), json.dumps(body).encode()):
        fields, written = parsed(raw)
        assert fields == body
        assert orjson.loads(written) == body


@given(BODIES, TEXTS, VALUES, VALUES)
def test_no_way_to_write_a_key_twice_gets_through(body: dict[str, Any], key: str, one: Any, other: Any) -> None:
    entries = [*body.items(), (key, one), (key, other)]
    for escaped in (True, False):
        text = ", ".join(f"{json.dumps(name, ensure_ascii=escaped)}:{json.dumps(value)}" for name, value in entries)
        assert "twice" in str(refusal(f"{{{text}}}"))
