from typing import Any

import pytest

from farebox.pricing import Usage, UsageSource
from gateway.dialects.usage import estimated, from_anthropic, from_openai


def openai(prompt: int, completion: int, cached: int = 0, reasoning: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        **more,
    }


def test_openai_counts_contain_each_other_and_ours_do_not() -> None:
    usage = from_openai(openai(100, 50, cached=80, reasoning=30))
    assert usage == Usage(input=20, cache_read=80, output=20, reasoning=30)


def test_thoughts_may_be_counted_beside_the_completion() -> None:
    usage = from_openai(openai(100, 50, reasoning=30, total_tokens=180))
    assert usage == Usage(input=100, output=50, reasoning=30)


def test_anthropic_counts_are_disjoint_already() -> None:
    usage = from_anthropic(
        {
            "input_tokens": 20,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 15,
            "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 10},
            "output_tokens": 50,
            "service_tier": "standard",
            "server_tool_use": {"web_search_requests": 2},
        }
    )
    assert usage == Usage(
        input=20, cache_read=80, cache_write_5m=5, cache_write_1h=10, output=50, tool_calls={"web_search": 2}
    )


def test_zero_is_a_count_and_not_an_absence() -> None:
    usage = from_openai({"prompt_tokens": 0, "completion_tokens": 0})
    assert usage == Usage(input=0, output=0)
    assert usage is not None
    assert usage.source is UsageSource.REPORTED


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "12",
        {"prompt_tokens": "9"},
        {"prompt_tokens": -1},
        {"prompt_tokens": 1.5},
        openai(9, 9, cached=10),
    ],
)
def test_what_makes_no_sense_is_no_usage(usage: object) -> None:
    assert from_openai(usage) is None
    assert from_anthropic(usage) is None


@pytest.mark.parametrize(
    ("tier", "kept"), [("default", None), ("auto", None), ("flex", "flex"), (None, None), (3, None)]
)
def test_the_tier_is_the_one_the_answer_states(tier: object, kept: str | None) -> None:
    usage = from_openai(openai(1, 1), tier)
    assert usage is not None
    assert usage.service_tier == kept


def test_an_estimate_says_so_and_stays_within_the_reserve() -> None:
    worst = Usage(input=100, output=30)
    usage = estimated(input_tokens=40, output_tokens=99, worst=worst)
    assert usage == Usage(input=40, output=30, source=UsageSource.ESTIMATED)
