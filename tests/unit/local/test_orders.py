import pytest
from pydantic import ValidationError

from farebox_local.provider.orders import Defaults, Order, count, order_of


def counted(order: Order, *, text: str = "", body_bytes: int = 100, max_tokens: int | None = None) -> tuple[int, int]:
    counts = count(order, text=text, body_bytes=body_bytes, max_tokens=max_tokens, choices=1)
    return counts.prompt, counts.completion


def test_headers_go_before_metadata_and_metadata_before_defaults() -> None:
    headers = {"x-demo-prompt-tokens": "1", "accept": "*/*"}
    body = {"metadata": {"demo_prompt_tokens": "2", "demo_completion_tokens": "3", "mine": "kept out"}}
    order = order_of(headers, body, Defaults(cached_tokens=4, completion_tokens=5))
    assert order == Order(prompt_tokens=1, completion_tokens=3, cached_tokens=4)


def test_an_answer_may_name_another_model_than_the_one_asked_for() -> None:
    order = order_of({}, {"metadata": {"demo_served_model": "gpt-4o-2024-08-06"}}, Defaults())
    assert order == Order(served_model="gpt-4o-2024-08-06")


@pytest.mark.parametrize("header", [{"x-demo-promt-tokens": "1"}, {"x-demo-fault": "http_418"}])
def test_an_unknown_order_is_refused(header: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        order_of(header, {}, Defaults())


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("a", 1), ("abcd", 1), ("abcde", 2), ("ngân", 2), ("서울", 2)])
def test_four_utf8_bytes_are_a_prompt_token(text: str, tokens: int) -> None:
    assert counted(Order(), text=text)[0] == tokens


@pytest.mark.parametrize(("max_tokens", "tokens"), [(None, 32), (31, 31), (32, 32), (1000, 32)])
def test_completion_is_32_tokens_within_max_tokens(max_tokens: int | None, tokens: int) -> None:
    assert counted(Order(), max_tokens=max_tokens)[1] == tokens


def test_an_ordered_completion_keeps_within_max_tokens() -> None:
    assert counted(Order(completion_tokens=300), max_tokens=200)[1] == 200


def test_cached_tokens_are_part_of_the_prompt() -> None:
    order = Order(prompt_tokens=10, cached_tokens=50)
    assert count(order, text="", body_bytes=0, max_tokens=None, choices=1).cached == 10
