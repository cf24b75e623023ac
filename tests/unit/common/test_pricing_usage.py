"""Counts are whole, bounded and in known buckets, or they are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from farebox.pricing import BUCKETS, Usage, UsageSource


def test_a_usage_reads_back_from_its_json() -> None:
    usage = Usage(input=7, reasoning=3, tool_calls={"web_search": 2}, source=UsageSource.ESTIMATED)
    assert Usage.model_validate_json(usage.model_dump_json()) == usage


@pytest.mark.parametrize("count", [-1, True, 1.0, "1", None, 10**12 + 1])
@pytest.mark.parametrize("unit", [*BUCKETS, "requests"])
def test_a_count_is_a_whole_number_in_bounds(unit: str, count: Any) -> None:
    with pytest.raises(ValidationError):
        Usage.model_validate({unit: count})


@pytest.mark.parametrize("calls", [{"web_search": -1}, {"web_search": True}, {"": 1}, {"x" * 65: 1}])
def test_tool_calls_are_named_and_counted(calls: Any) -> None:
    with pytest.raises(ValidationError):
        Usage(tool_calls=calls)


def test_an_unknown_bucket_is_refused_and_not_dropped() -> None:
    with pytest.raises(ValidationError, match="video_in"):
        Usage.model_validate({"input": 1, "video_in": 5})


def test_a_usage_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Usage(input=1).input = 2  # type: ignore[misc] # the rule under test


def test_every_bucket_is_on_one_side() -> None:
    usage = Usage.model_validate({bucket: 10**place for place, bucket in enumerate(BUCKETS)})
    assert (usage.input_total, usage.output_total) == (111_111, 1_111_000_000)
    assert usage.total == 1_111_111_111
