"""Identifiers sort by their making, carry their instant, and keys cannot be guessed."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from farebox.ids import instant_of, new_api_key, new_id


def test_ids_are_uuid7_and_sort_by_their_making() -> None:
    made = [new_id() for _ in range(1000)]
    assert {id_.version for id_ in made} == {7}
    assert made == sorted(set(made))


def test_an_id_carries_the_instant_of_its_making() -> None:
    before = datetime.now(UTC)
    instant = instant_of(new_id())
    assert before - timedelta(milliseconds=1) <= instant <= datetime.now(UTC)


def test_the_instant_is_that_of_the_rfc_example() -> None:
    assert instant_of(UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")) == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "id_",
    [UUID("3f333df6-90a4-4fda-8dd3-9485d27cee36"), UUID(int=0), UUID("ffffffff-ffff-7fff-bfff-ffffffffffff")],
    ids=str,
)
def test_an_id_without_an_instant_is_refused(id_: UUID) -> None:
    with pytest.raises(ValueError, match=str(id_)):
        instant_of(id_)


def test_api_keys_are_told_by_their_prefix_and_never_repeat() -> None:
    keys = {new_api_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch("fbx_[0-9A-Za-z]{43}", key) for key in keys)
