"""What was away when: it explains what happened then and shortly afterwards, and nothing else."""

import pytest

from chaos.outages import AFTERWARDS_S, Outage, Outages

AWAY = Outages([Outage("kafka", 10.0, 20.0), Outage("budget", 30.0, 35.0)])


@pytest.mark.parametrize(
    ("since", "until", "disturbed"),
    [
        (0.0, 9.0, False),
        (9.0, 11.0, True),
        (20.0 + AFTERWARDS_S - 1, 99.0, True),
        (20.0 + AFTERWARDS_S + 1, 99.0, False),
    ],
)
def test_an_outage_disturbs_what_it_meets_and_what_comes_shortly_after(
    since: float, until: float, disturbed: bool
) -> None:
    assert AWAY.disturbed(["kafka"], since, until) is disturbed


@pytest.mark.parametrize(
    ("parts", "since", "calm"),
    [
        (["kafka"], 0.0, 8.0),
        (["kafka"], 5.0, 28.0),
        (["kafka", "budget"], 5.0, 28.0),
        (["kafka", "budget"], 25.0, 43.0),
        (["metering"], 15.0, 23.0),
    ],
)
def test_calm_is_so_long_a_time_without_an_outage(parts: list[str], since: float, calm: float) -> None:
    assert AWAY.calm_after(parts, since, 8.0) == calm


def test_what_never_comes_back_leaves_no_calm() -> None:
    assert Outages([Outage("kafka", 10.0)]).calm_after(["kafka"], 5.0, 8.0) == float("inf")
