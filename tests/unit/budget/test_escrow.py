"""Escrow: what is granted, returned and posted always adds up, and never passes the limit."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget.shares.rules import Ask, Granted, Obstacle, Room, ShareState, Short, grant, release, suspend

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = (UUID(int=1), START)
LEASE = UUID(int=9)


def room(limit: int, *, posted: int = 0, escrowed: int = 0, suspended: int = 0, key: int = 1) -> Room:
    return Room((UUID(int=key), START), "money", limit, posted, escrowed, suspended)


def ask(least: int, need: int | None = None, want: int | None = None) -> dict[str, Ask]:
    need = least if need is None else need
    return {"money": Ask(least, need, need if want is None else want)}


def test_the_first_budget_that_is_short_is_named() -> None:
    rooms = [room(100), room(5, key=2), room(1, key=3)]
    short = Short((UUID(int=2), START), Obstacle.SPENT)
    assert grant(rooms, ask(10), live_gateways=1) == short  # type: ignore[arg-type]  # a literal key


@pytest.mark.parametrize(
    ("posted", "suspended", "escrowed", "obstacle"),
    [
        (90, 0, 0, None),
        (91, 0, 9, Obstacle.SPENT),
        (90, 1, 9, Obstacle.SUSPENDED),
        (80, 10, 1, Obstacle.HELD),
        (0, 0, 100, Obstacle.HELD),
    ],
)
def test_what_stands_in_the_way_of_ten_more(
    posted: int, suspended: int, escrowed: int, obstacle: Obstacle | None
) -> None:
    assert room(100, posted=posted, suspended=suspended, escrowed=escrowed).obstacle(10) is obstacle


def test_a_refusal_is_as_final_as_the_most_final_of_the_path() -> None:
    rooms = [room(100, escrowed=95), room(100, posted=95, key=2)]
    assert grant(rooms, ask(10), live_gateways=1) == Short(KEY, Obstacle.SPENT)  # type: ignore[arg-type]


def test_far_from_the_limit_a_lease_is_what_is_wanted() -> None:
    assert grant([room(8_000)], ask(1, 1, 500), live_gateways=2) == Granted({KEY: 500})  # type: ignore[arg-type]


def test_a_lease_is_a_small_share_of_what_remains_for_each_live_gateway() -> None:
    assert grant([room(1_600)], ask(1, 1, 5_000), live_gateways=2) == Granted({KEY: 100})  # type: ignore[arg-type]


def test_near_the_limit_a_lease_is_exactly_one_request() -> None:
    assert grant([room(30)], ask(10, 10, 5_000), live_gateways=1) == Granted({KEY: 10})  # type: ignore[arg-type]


def test_at_the_limit_a_clamped_request_gets_what_is_left() -> None:
    assert grant([room(7)], ask(5, 10), live_gateways=1) == Granted({KEY: 7})  # type: ignore[arg-type]


def test_who_only_asks_for_a_policy_holds_nothing() -> None:
    assert grant([room(30)], ask(0), live_gateways=1) == Granted({})  # type: ignore[arg-type]


def test_all_levels_hold_the_same() -> None:
    rooms = [room(8_000), room(30, key=2)]
    granted = grant(rooms, ask(10, 10, 500), live_gateways=1)  # type: ignore[arg-type]
    assert isinstance(granted, Granted)
    assert set(granted.amounts.values()) == {10}


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 600), st.integers(0, 600)), min_size=1, max_size=5),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 3000),
    st.integers(0, 5),
)
def test_a_grant_fits_every_window_and_is_refused_only_for_want_of_room(
    windows: list[tuple[int, int, int]], least: int, more: int, want: int, live: int
) -> None:
    rooms = [room(limit, posted=p, escrowed=e, key=n) for n, (limit, p, e) in enumerate(windows)]
    asks = ask(least, least + more, least + more + want)
    verdict = grant(rooms, asks, live_gateways=live)  # type: ignore[arg-type]
    if isinstance(verdict, Short):
        assert next(each for each in rooms if each.key == verdict.key).free < least
        would_fit_without_leases = all(each.spent + least <= each.limit for each in rooms)
        assert (verdict.obstacle is Obstacle.HELD) == would_fit_without_leases
    elif verdict.amounts:
        assert all(least <= verdict.amounts[each.key] <= each.free for each in rooms)


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), max_size=8))
def test_reports_in_any_order_return_what_the_greatest_of_them_says(reports: list[tuple[int, int]]) -> None:
    share = ShareState(LEASE, KEY, granted=100)
    forth, back = share, share
    for spent, returned in reports:
        forth = forth.reported(spent=spent, returned=returned)
    for spent, returned in reports + reports:
        back = back.reported(spent=spent, returned=returned)
    assert 0 <= forth.held <= 100
    assert forth.returned <= back.returned
    assert forth.returned + forth.posted <= 100


@given(st.integers(0, 100), st.integers(0, 150), st.integers(0, 100), st.booleans())
def test_what_a_lease_holds_is_what_its_window_holds_for_it(
    granted: int, billed: int, returned: int, is_lost: bool
) -> None:
    window = room(1_000).moved(escrowed=granted)
    share = ShareState(LEASE, KEY, granted=granted)
    if is_lost:
        share, window = suspend(share, window)
    for after in (share.charged(billed), share.charged(billed).reported(spent=billed, returned=returned)):
        window, share = release(share, after, window), after
        assert window.escrowed + window.suspended == share.held
