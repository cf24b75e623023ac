from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from budget.shares.silence import LOOK_EVERY_S, SilenceWatch

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GATEWAY = ("gw", 1)
LONG = 20 * LOOK_EVERY_S


def looked(*seen_at: datetime, every_s: float = LOOK_EVERY_S) -> SilenceWatch:
    """What is known of a gateway after one look for each of these."""
    silence = SilenceWatch()
    for number, at in enumerate(seen_at):
        silence.look({GATEWAY: at}, number * every_s)
    return silence


def test_who_gives_no_sign_of_life_for_so_long_is_silent() -> None:
    assert looked(*[NOON] * 20).of_those_silent_for(LONG) == {}
    assert looked(*[NOON] * 21).of_those_silent_for(LONG) == {GATEWAY: NOON}


@given(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=60).filter(lambda s: all(map(int.__ne__, s, s[1:]))))
def test_who_is_heard_is_never_silent_wherever_the_wall_clock_jumps(seconds: list[int]) -> None:
    silence = looked(*(NOON + timedelta(seconds=offset) for offset in seconds))
    assert silence.of_those_silent_for(1) == {}


def test_a_new_epoch_is_a_sign_of_life() -> None:
    silence = looked(*[NOON] * 21)
    silence.look({("gw", 2): NOON}, 21 * LOOK_EVERY_S)
    assert silence.of_those_silent_for(1) == {}


def test_nobody_is_silent_while_nobody_listens() -> None:
    assert looked(NOON, NOON, every_s=86_400).of_those_silent_for(LONG) == {}


def test_a_gateway_seen_for_the_first_time_has_not_been_silent_before() -> None:
    silence = looked(*[NOON] * 21)
    silence.look({GATEWAY: NOON, ("new", 1): NOON - timedelta(days=9)}, 21 * LOOK_EVERY_S)
    assert ("new", 1) not in silence.of_those_silent_for(1)


def test_an_epoch_that_another_process_ended_is_watched_anew() -> None:
    silence = looked(*[NOON] * 21)
    silence.look({("gw", 2): NOON, GATEWAY: None}, 21 * LOOK_EVERY_S)
    assert silence.seconds_of(GATEWAY) == 0


def test_an_epoch_that_was_ended_here_stays_as_silent_as_it_was() -> None:
    silence = looked(*[NOON] * 21)
    silence.ended(GATEWAY)
    silence.look({("gw", 2): NOON, GATEWAY: None}, 21 * LOOK_EVERY_S)
    assert silence.seconds_of(GATEWAY) == LONG + LOOK_EVERY_S
