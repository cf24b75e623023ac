"""What topics are made with."""

import pytest

from farebox.topics import _new_topics


@pytest.mark.parametrize(("replication", "acknowledged_by"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_two_replicas_have_what_is_acknowledged_wherever_one_may_be_away(
    replication: int, acknowledged_by: str | None
) -> None:
    made = _new_topics(replication)
    assert {topic.replication_factor for topic in made} == {replication}
    assert {topic.topic_configs.get("min.insync.replicas") for topic in made} == {acknowledged_by}
