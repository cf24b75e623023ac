from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway.shares.amount import Amount
from gateway.shares.shares import FORGET_S, IDLE_S, LOOK_S, Path, Shares, Window, WindowKey

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
TEN = Amount(10, 1, 10)


def window(number: int, *, measure: int = 0, ends_at: float | None = None) -> Window:
    return Window(WindowKey(UUID(int=number), JUNE), measure, ends_at)


ORG, USER = window(1), window(2)
PATH: Path = [ORG, USER]


@pytest.fixture
def shares() -> Shares:
    shares = Shares()
    for each in PATH:
        shares.granted(each, 25, 0)
    return shares


def told(shares: Shares) -> dict[int, tuple[int, int]]:
    """What the service hears next: returned and overdrawn, by budget."""
    return {each.wire.budget_id.int: (each.wire.returned, each.wire.overdrawn) for each in shares.reports(99)}


def test_reserves_fit_until_the_share_is_used_up(shares: Shares) -> None:
    assert shares.reserve(PATH, TEN, 0)
    assert shares.reserve(PATH, TEN, 0)
    assert shares.reserve(PATH, TEN, 0) is None
    assert shares.reserve(PATH, Amount(5), 0)


def test_a_call_is_held_in_every_share_of_its_path_or_in_none(shares: Shares) -> None:
    assert shares.reserve([USER], Amount(20), 0)
    assert shares.reserve(PATH, TEN, 0) is None
    assert shares.reserve([ORG], Amount(25), 0), "nothing of the refused call is held"


def test_only_the_windows_that_are_short_are_named(shares: Shares) -> None:
    shares.reserve([USER], Amount(20), 0)
    assert shares.short(PATH, TEN) == [USER]


def test_each_share_holds_its_own_measure() -> None:
    calls, shares = window(3, measure=1), Shares()
    shares.granted(ORG, 100, 0)
    shares.granted(calls, 1, 0)
    assert shares.reserve([ORG, calls], TEN, 0)
    assert shares.short([ORG, calls], TEN) == [calls]


def test_a_call_that_costs_nothing_somewhere_needs_no_share_there(shares: Shares) -> None:
    hold = shares.reserve([ORG, window(3)], Amount(1), 0)
    assert hold is None
    hold = shares.reserve([ORG, window(3, measure=2)], Amount(1), 0)
    assert hold
    assert [share.key for share in hold.shares] == [ORG.key]


def test_a_settled_call_gives_back_what_it_did_not_use(shares: Shares) -> None:
    hold = shares.reserve(PATH, Amount(25), 0)
    assert hold
    assert shares.settle(hold, Amount(5))
    assert shares.room(PATH).money == 20


def test_settling_twice_counts_once(shares: Shares) -> None:
    hold = shares.reserve(PATH, TEN, 0)
    assert hold
    shares.settle(hold, TEN)
    shares.settle(hold, TEN)
    assert [each.amount for each in shares.spent()] == [10, 10]


def test_a_void_call_leaves_no_trace(shares: Shares) -> None:
    hold = shares.reserve(PATH, TEN, 0)
    assert hold
    shares.void(hold)
    assert (shares.room(PATH).money, list(shares.spent())) == (25, [])


def test_a_bill_above_its_reserve_comes_out_of_what_is_left(shares: Shares) -> None:
    hold = shares.reserve(PATH, TEN, 0)
    assert hold
    assert not shares.settle(hold, Amount(22))
    assert (shares.room(PATH).money, told(shares)) == (3, {})


def test_what_is_billed_beyond_all_that_is_left_is_overdrawn(shares: Shares) -> None:
    hold = shares.reserve(PATH, TEN, 0)
    assert hold
    shares.settle(hold, Amount(99))
    assert (shares.room(PATH).money, told(shares)) == (0, {1: (0, 74), 2: (0, 74)})
    assert shares.reserve(PATH, Amount(1), 0) is None


def test_what_was_overdrawn_is_no_room_for_others_under_way(shares: Shares) -> None:
    one, other = shares.reserve([ORG], TEN, 0), shares.reserve([ORG], TEN, 0)
    assert one
    assert other
    shares.settle(one, Amount(99))
    shares.settle(other, Amount(10))
    assert told(shares) == {1: (0, 84)}


def test_an_older_total_changes_nothing(shares: Shares) -> None:
    shares.granted(ORG, 20, 0)
    shares.total(ORG.key, 24)
    assert shares.room([ORG]).money == 25


def test_totals_are_asked_for_from_what_there_is(shares: Shares) -> None:
    shares.reserve([ORG], Amount(20), 0)
    assert shares.wanted(ORG, least=8, need=10, now=0)[:2] == (28, 30)
    assert shares.wanted(window(9), least=8, need=10, now=0) == (8, 10, 40)


def test_more_is_asked_for_where_much_was_spent_of_late(shares: Shares) -> None:
    hold = shares.reserve([ORG], Amount(20), 0)
    assert hold
    shares.settle(hold, Amount(20))
    _, _, want = shares.wanted(ORG, least=1, need=1, now=1.0)
    assert want == 25 + 1 + 5 * 20 - 5


def test_a_recalled_share_returns_at_once_what_is_idle_and_the_rest_as_it_settles(shares: Shares) -> None:
    hold = shares.reserve(PATH, TEN, 0)
    assert hold
    shares.recall([ORG.key])
    assert told(shares) == {1: (15, 0)}
    shares.settle(hold, Amount(4))
    assert told(shares) == {1: (21, 0)}


def test_what_was_overspent_takes_nothing_back_that_was_returned(shares: Shares) -> None:
    hold = shares.reserve([ORG], TEN, 0)
    assert hold
    shares.recall([ORG.key])
    shares.settle(hold, Amount(99))
    assert told(shares) == {1: (15, 89)}


def test_a_report_is_repeated_until_it_is_acknowledged(shares: Shares) -> None:
    shares.recall([ORG.key])
    reports = shares.reports(99)
    assert reports == shares.reports(99) != []
    shares.acknowledge(reports)
    assert shares.reports(99) == []


def test_what_happened_after_a_report_is_reported_again(shares: Shares) -> None:
    hold = shares.reserve([ORG], TEN, 0)
    assert hold
    shares.recall([ORG.key])
    reports = shares.reports(99)
    shares.settle(hold, Amount(4))
    shares.acknowledge(reports)
    assert told(shares) == {1: (21, 0)}


def test_shares_without_news_are_told_of_in_turn() -> None:
    shares = Shares()
    for number in range(5):
        shares.granted(window(number), 1, 0)
    named = [each.wire.budget_id.int for _ in range(3) for each in shares.reports(99, also=2)]
    assert set(named) == set(range(5))


def test_an_idle_share_is_given_back(shares: Shares) -> None:
    shares.tick(IDLE_S - 0.1)
    assert told(shares) == {}
    shares.tick(IDLE_S)
    assert told(shares) == {1: (25, 0), 2: (25, 0)}


def test_a_share_with_a_call_under_way_is_not_idle(shares: Shares) -> None:
    shares.reserve(PATH, TEN, 0)
    shares.tick(IDLE_S + 1)
    assert told(shares) == {}


def test_a_window_that_is_over_is_no_longer_drawn_on_and_goes_back() -> None:
    shares, ending = Shares(), window(1, ends_at=1.0)
    shares.granted(ending, 25, 0)
    assert shares.reserve([ending], TEN, 0.9)
    assert shares.reserve([ending], TEN, 1.0) is None
    shares.tick(1.0)
    assert told(shares) == {1: (15, 0)}


def test_a_share_is_forgotten_long_after_its_window_when_all_of_it_is_told() -> None:
    """An answer that comes late must not find a share without what was spent of it."""
    shares, ending = Shares(), window(1, ends_at=1.0)
    shares.granted(ending, 25, 0)
    shares.tick(1.0)
    shares.acknowledge(shares.reports(99))
    shares.tick(FORGET_S)
    assert len(shares) == 1
    shares.tick(1.0 + FORGET_S)
    assert len(shares) == 0


def test_a_share_with_something_to_tell_is_not_forgotten() -> None:
    shares, ending = Shares(), window(1, ends_at=1.0)
    shares.granted(ending, 25, 0)
    shares.tick(1.0 + FORGET_S)
    assert (len(shares), told(shares)) == (1, {1: (25, 0)})


def test_a_window_that_ends_later_than_was_thought_is_drawn_on_until_then() -> None:
    shares = Shares()
    shares.granted(window(1, ends_at=1.0), 25, 0)
    shares.granted(window(1, ends_at=2.0), 25, 0)
    assert shares.reserve([window(1)], TEN, 1.5)


def test_a_share_is_low_when_a_second_more_of_this_would_empty_it(shares: Shares) -> None:
    hold = shares.reserve([ORG], Amount(20), 0)
    assert hold
    shares.settle(hold, Amount(20))
    assert shares.low(hold, 1.0) == [ORG]
    assert shares.low(hold, 1.0 + LOOK_S / 2) == [], "not asked again at once"


def test_a_share_is_low_when_another_such_call_would_not_fit(shares: Shares) -> None:
    shares.granted(ORG, 25, 0)
    hold = shares.reserve([ORG], Amount(20), 0)
    assert hold
    assert shares.low(hold, 1.0) == [ORG]


def test_at_the_end_everything_goes_back_and_what_is_under_way_as_it_settles(shares: Shares) -> None:
    hold = shares.reserve([ORG], TEN, 0)
    assert hold
    shares.close_all()
    shares.void(hold)
    assert told(shares) == {1: (25, 0), 2: (25, 0)}


def test_what_is_in_hand_is_what_is_not_spent(shares: Shares) -> None:
    hold = shares.reserve([ORG], TEN, 0)
    assert shares.in_hand(ORG.key) == 25
    assert hold
    shares.settle(hold, Amount(4))
    assert (shares.in_hand(ORG.key), shares.in_hand(window(9).key)) == (21, 0)
