from typing import Any

import pytest

from farebox.pricing import Usage, UsageSource
from gateway.dialects.reports import Report, numbers_of, usage_of
from gateway.dialects.usage import estimated


def from_openai(usage: object, tier: object = None) -> Usage | None:
    return usage_of("openai", "openai", Report(usage, service_tier=tier), "gpt-4o")


def from_anthropic(usage: object) -> Usage | None:
    return usage_of("anthropic", "anthropic", Report(usage), "claude-sonnet-4-5-20250929")


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
        {"prompt_tokens": 9},
        {"prompt_tokens": 9, "total_tokens": 9},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 9, "completion_tokens": 1.0},
        {"prompt_tokens": 9, "completion_tokens": 10**13},
        {"input_tokens": 9},
        {"input_tokens": 9, "output_tokens": -1},
        {"input_tokens": 9, "output_tokens": 1, "server_tool_use": {"web_search_requests": "2"}},
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


@pytest.mark.parametrize("tier", ["flex\u0000", "x" * 65, "", " ", 3, ["flex"], {"name": "flex"}])
def test_a_tier_that_is_no_word_is_shown_as_a_counter(tier: object) -> None:
    usage = from_openai(openai(1, 1), tier)
    assert usage is not None
    assert usage.service_tier is None
    assert usage.unknown == ({"service_tier": 1} if tier else {})


def test_a_completion_that_is_left_out_is_what_the_total_says() -> None:
    assert from_openai({"prompt_tokens": 9, "total_tokens": 12}) == Usage(input=9, reasoning=3)


def test_a_sound_that_was_cached_counts_as_heard() -> None:
    usage = from_openai(
        {**openai(100, 5, cached=80), "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 60}}
    )
    assert usage == Usage(cache_read=40, audio_in=60, output=5)


def test_a_picture_that_was_cached_counts_as_read_from_the_cache() -> None:
    usage = from_openai({**openai(100, 5), "prompt_tokens_details": {"cached_tokens": 80, "image_tokens": 60}})
    assert usage == Usage(cache_read=80, image_in=20, output=5)


def test_of_twenty_thousand_tools_some_are_kept_and_the_rest_is_counted() -> None:
    tools = {f"tool_{number}_requests": 1 for number in range(20_000)}
    usage = from_anthropic({"input_tokens": 1, "output_tokens": 1, "server_tool_use": tools})
    assert usage is not None
    assert (len(usage.tool_calls), len(usage.unknown)) == (16, 9)
    assert usage.unknown["more"] == 20_000 - 16 - 8


@pytest.mark.parametrize("name", ["a\u0000b", "two words", "", "ế" * 3])
def test_a_counter_without_a_name_that_can_be_kept_is_counted_all_the_same(name: str) -> None:
    usage = from_openai(openai(1, 1) | {name: 5})
    assert usage is not None
    assert usage.unknown == {"more": 1}


def test_times_and_text_are_no_counters() -> None:
    usage = from_openai(openai(1, 1) | {"queue_time": 1, "speed_tps": 81.5, "note": "fast", "ok": True, "spare": 0})
    assert usage == Usage(input=1, output=1)


@pytest.mark.parametrize("cost", ["0.95", -1, True, None, {"usd": 1}])
def test_a_bill_that_is_no_amount_is_not_stated(cost: object) -> None:
    usage = usage_of("openai", "openrouter", Report(openai(1, 1, cost=cost)), "openai/gpt-4o")
    assert usage == Usage(input=1, output=1)


def test_only_who_is_known_to_state_bills_states_one() -> None:
    assert from_openai(openai(1, 1, cost=7)) == Usage(input=1, output=1)


def test_samplings_never_come_to_less_than_the_answer_says() -> None:
    few = {"input_tokens": 1, "output_tokens": 1, "type": "message"}
    usage = from_anthropic({"input_tokens": 50, "output_tokens": 20, "iterations": [few, None, 3]})
    assert usage == Usage(input=50, output=20)


def test_numbers_of_a_report_are_kept_by_their_paths_and_nothing_else_is() -> None:
    report = {"prompt_tokens": 10**11, "details": {"cached": -2.5}, "parts": [{"n": 1}], "said": "a secret", "ok": True}
    assert numbers_of(report) == {"prompt_tokens": "100000000000", "details.cached": "-2.5", "parts.0.n": "1"}


def test_an_estimate_says_so_and_stays_within_the_reserve() -> None:
    worst = Usage(input=100, output=30)
    usage = estimated(input_tokens=40, output_tokens=99, worst=worst)
    assert usage == Usage(input=40, output=30, source=UsageSource.ESTIMATED)
