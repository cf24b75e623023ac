"""Shares and windows: totals that only grow, in any order; sizes; and never more out than the limit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget.shares.rules import Obstacle, Positions, Raised, Room, Share, ShareKey, Short, Wanted, raise_all, release

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = (UUID(int=1), START)
SHARE = ShareKey(*KEY, "gw", 1)
AMOUNT = st.integers(0, 120)


def room(limit: int, *, posted: int = 0, escrowed: int = 0, suspended: int = 0, key: int = 1, **more: Any) -> Room:
    return Room((UUID(int=key), START), "money", limit, posted, escrowed, suspended, **more)


def sized(rooms: list[Room], least: int, need: int | None = None, want: int | None = None, holders: int = 1) -> Any:
    need = least if need is None else need
    wanted = Wanted(least, need, need if want is None else want)
    return raise_all(rooms, {each.key: wanted for each in rooms}, {each.key: holders for each in rooms})


# Sizes


def test_the_first_budget_that_is_short_is_named() -> None:
    rooms = [room(100), room(5, key=2), room(1, key=3)]
    assert sized(rooms, 10) == Short((UUID(int=2), START), Obstacle.SPENT)


@pytest.mark.parametrize(
    ("posted", "suspended", "uncertain", "escrowed", "obstacle"),
    [
        (90, 0, 0, 0, None),
        (91, 0, 0, 9, Obstacle.SPENT),
        (90, 1, 0, 9, Obstacle.SUSPENDED),
        (90, 0, 1, 9, Obstacle.SUSPENDED),
        (80, 5, 5, 1, Obstacle.HELD),
        (0, 0, 0, 100, Obstacle.HELD),
    ],
)
def test_what_stands_in_the_way_of_ten_more(
    posted: int, suspended: int, uncertain: int, escrowed: int, obstacle: Obstacle | None
) -> None:
    window = room(100, posted=posted, suspended=suspended, uncertain=uncertain, escrowed=escrowed)
    assert window.obstacle(10) is obstacle


def test_a_refusal_is_as_final_as_the_most_final_of_the_path() -> None:
    assert sized([room(100, escrowed=95), room(100, posted=95, key=2)], 10) == Short(KEY, Obstacle.SPENT)


def test_far_from_the_limit_a_raise_is_what_is_wanted() -> None:
    assert sized([room(8_000)], 1, 1, 500, holders=2) == Raised({KEY: 500})


def test_a_raise_ahead_of_need_is_a_small_part_of_what_remains_for_each_holder() -> None:
    assert sized([room(1_600)], 1, 1, 5_000, holders=2) == Raised({KEY: 100})


def test_near_the_limit_a_raise_is_exactly_one_request() -> None:
    assert sized([room(30)], 10, 10, 5_000) == Raised({KEY: 10})


def test_at_the_limit_a_clamped_request_gets_what_is_left() -> None:
    assert sized([room(7)], 5, 10) == Raised({KEY: 7})


def test_each_window_is_raised_by_its_own_size() -> None:
    rooms = [room(8_000), room(30, key=2)]
    assert sized(rooms, 10, 10, 500) == Raised({KEY: 500, (UUID(int=2), START): 10})


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 600), st.integers(0, 600)), min_size=1, max_size=5),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 3000),
    st.integers(0, 5),
)
def test_a_raise_fits_every_window_and_is_refused_only_for_want_of_room(
    windows: list[tuple[int, int, int]], least: int, more: int, want: int, holders: int
) -> None:
    rooms = [room(limit, posted=p, escrowed=e, key=n) for n, (limit, p, e) in enumerate(windows)]
    verdict = sized(rooms, least, least + more, least + more + want, holders)
    if isinstance(verdict, Short):
        assert next(each for each in rooms if each.key == verdict.key).free < least
        would_fit_without_shares = all(each.spent + least <= each.limit for each in rooms)
        assert (verdict.obstacle is Obstacle.HELD) == would_fit_without_shares
    else:
        assert all(least <= verdict.more[each.key] <= each.free for each in rooms)


# Totals

REPORT = st.fixed_dictionaries({"granted": AMOUNT, "returned": AMOUNT, "overdrawn": AMOUNT})


@given(st.lists(REPORT, max_size=4), st.integers(0, 120))
def test_reports_commute_and_those_that_come_twice_change_nothing(reports: list[dict[str, int]], granted: int) -> None:
    ends = set()
    for order in permutations(reports):
        share = Share(SHARE, granted=granted)
        for each in (*order, *order):
            share = share.reported(**each)
        ends.add(share)
    assert len(ends) == 1


@given(REPORT, AMOUNT, AMOUNT, AMOUNT)
def test_reports_raises_and_postings_come_to_the_same_in_every_order(
    report: dict[str, int], raised: int, charged: int, again: int
) -> None:
    steps: list[Callable[[Share], Share]] = [
        lambda share: share.reported(**report),
        lambda share: share.raised(raised),
        lambda share: share.charged(charged),
        lambda share: share.charged(again),
    ]
    ends = set()
    for order in permutations(steps):
        share = Share(SHARE)
        for step in order:
            share = step(share)
        ends.add(share)
    assert len(ends) == 1


@given(AMOUNT, AMOUNT, st.lists(AMOUNT, max_size=4))
def test_an_overdrawn_share_holds_the_excess_until_it_is_posted(granted: int, excess: int, bills: list[int]) -> None:
    spent = granted + excess
    share = Share(SHARE, granted=granted).reported(returned=0, overdrawn=excess)
    posted = 0
    for bill in bills:
        charge = min(bill, spent - posted)
        posted += charge
        share = share.charged(charge)
        assert share.held == spent - posted


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_a_share_that_is_ended_holds_what_was_spent_and_is_not_posted(
    granted: int, returned: int, posted: int, unposted: int
) -> None:
    share = Share(SHARE, granted=granted, returned=min(returned, granted), posted=posted, is_suspended=True)
    ended = share.ended(posted + unposted)
    assert (ended.held, ended.is_final, ended.is_suspended) == (unposted, True, False)
    assert ended.ended(posted + unposted) == ended


@given(AMOUNT, AMOUNT, AMOUNT)
def test_a_release_leaves_nothing_held_and_what_is_posted_later_is_counted(
    granted: int, posted: int, late: int
) -> None:
    released = Share(SHARE, granted=granted, posted=posted, is_suspended=True).released()
    assert (released.held, released.charged(late).held) == (0, 0)


# Windows

STEP = st.tuples(st.sampled_from(["raise", "report", "charge", "suspend", "end", "release"]), AMOUNT, AMOUNT)


@given(st.lists(STEP, max_size=12))
def test_what_shares_hold_is_what_their_window_holds_for_them(steps: list[tuple[str, int, int]]) -> None:
    positions = Positions({KEY: room(10_000)}, {})
    for what, one, other in steps:
        share = positions.share(SHARE)
        match what:
            case "raise":
                positions.raised(SHARE, one)
            case "report":
                positions.become(share.reported(returned=one, overdrawn=other))
            case "charge":
                positions.become(share.charged(one))
            case "suspend":
                positions.suspend([SHARE])
            case "end":
                positions.become(share.ended(one))
            case _:
                positions.become(share.released())
        after, window = positions.share(SHARE), positions.rooms[KEY]
        assert (window.suspended if after.is_suspended else window.escrowed) == after.held
        assert window.escrowed + window.suspended == after.held


def test_who_raises_is_not_lost() -> None:
    share = Share(SHARE, granted=10, is_suspended=True)
    positions = Positions({KEY: room(100, suspended=10)}, {SHARE: share})
    positions.raised(SHARE, 5)
    assert positions.share(SHARE) == replace(share, granted=15, is_suspended=False)
    assert (positions.rooms[KEY].suspended, positions.rooms[KEY].escrowed) == (0, 15)


def test_a_window_says_when_more_is_out_than_its_limit_allows() -> None:
    share = Share(SHARE, granted=90)
    over = release(share, share.reported(returned=0, overdrawn=20), room(100, escrowed=90))
    assert (over.escrowed, over.is_over, over.free) == (110, True, 0)
    assert not release(Share(SHARE, granted=110), Share(SHARE, granted=100), over).is_over


def test_gateways_that_hold_something_of_a_window_are_counted_and_the_one_that_asks_too() -> None:
    def holding(gateway: str, **fields: Any) -> Share:
        return Share(ShareKey(*KEY, gateway, 1), granted=5, **fields)

    shares = [holding("a"), holding("b"), holding("lost", is_suspended=True), holding("over", is_final=True)]
    positions = Positions({KEY: room(100)}, {share.key: share for share in (*shares, holding("done", returned=5))})
    assert positions.holders("c") == {KEY: 3}
    assert positions.holders("a") == {KEY: 2}
