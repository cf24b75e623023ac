"""A PostgreSQL that may lose acknowledged commits is known by its settings."""

import pytest

from farebox.durability import weaknesses

SOUND = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
}


@pytest.mark.parametrize(
    ("changed", "weak"),
    [
        ({}, []),
        ({"fsync": "off"}, ["fsync=off"]),
        ({"full_page_writes": "off"}, ["full_page_writes=off"]),
        ({"synchronous_commit": "off"}, ["synchronous_commit=off"]),
        ({"synchronous_commit": "local"}, []),
        ({"synchronous_commit": "local", "synchronous_standby_names": "b"}, ["synchronous_commit=local"]),
        ({"synchronous_commit": "remote_apply", "synchronous_standby_names": "b"}, []),
        ({"fsync": "off", "synchronous_commit": "off"}, ["fsync=off", "synchronous_commit=off"]),
    ],
)
def test_settings_that_may_lose_commits_are_named(changed: dict[str, str], weak: list[str]) -> None:
    assert weaknesses(SOUND | changed) == weak
