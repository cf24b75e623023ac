from uuid import UUID

from gateway.budget_link.unanswered import GIVEN_UP_S, RETRY_WITHIN_S, Unanswered

ONE = UUID(int=1)


def test_who_asks_for_the_like_soon_asks_under_the_same_id() -> None:
    unanswered = Unanswered()
    unanswered.add("pool", ONE, now=0)
    assert unanswered.given_up(now=RETRY_WITHIN_S - 1) == ()
    assert unanswered.again("pool") == ONE
    assert unanswered.again("pool") is None
    assert unanswered.given_up(now=RETRY_WITHIN_S) == ()


def test_a_lease_that_is_given_up_is_never_asked_for_again() -> None:
    unanswered = Unanswered()
    unanswered.add("pool", ONE, now=0)
    assert unanswered.given_up(now=RETRY_WITHIN_S) == (ONE,)
    assert unanswered.again("pool") is None


def test_it_is_said_until_no_request_can_be_under_way() -> None:
    unanswered = Unanswered()
    unanswered.add("pool", ONE, now=0)
    unanswered.given_up(now=10)
    assert unanswered.given_up(now=10 + GIVEN_UP_S - 1) == (ONE,)
    assert unanswered.given_up(now=10 + GIVEN_UP_S) == ()
