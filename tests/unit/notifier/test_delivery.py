import pytest

from notifier.delivery import DeliveryResult, State, Step, Verdict, step_after
from notifier.mail import outcome_of
from notifier.retry import Schedule

TWICE = Schedule((5.0,))


def step(verdict: Verdict, attempts: int = 1) -> Step:
    return step_after(DeliveryResult(verdict), attempts=attempts, schedule=TWICE, jitter=0.0)


def test_accepted_is_delivered() -> None:
    assert step(Verdict.ACCEPTED) == Step(State.DELIVERED)


def test_a_retry_waits_as_the_schedule_says() -> None:
    assert step(Verdict.RETRY) == Step(State.PENDING, 5.0)


def test_after_the_last_attempt_it_has_failed() -> None:
    assert step(Verdict.RETRY, attempts=2) == Step(State.FAILED)


def test_refused_has_failed_at_once() -> None:
    assert step(Verdict.REFUSED) == Step(State.FAILED)


def test_gone_disables_the_channel() -> None:
    assert step(Verdict.GONE) == Step(State.FAILED, disables_channel=True)


A, B = "a@example.com", "b@example.com"


@pytest.mark.parametrize(
    ("refused", "had_some", "verdict", "accepted"),
    [
        ({}, False, Verdict.ACCEPTED, (A, B)),
        ({B: 451}, False, Verdict.RETRY, (A,)),
        ({B: 550}, False, Verdict.ACCEPTED, (A,)),
        ({A: 550, B: 451}, False, Verdict.RETRY, ()),
        ({A: 550, B: 550}, False, Verdict.REFUSED, ()),
        ({A: 550, B: 550}, True, Verdict.ACCEPTED, ()),
    ],
)
def test_mail_is_retried_for_those_who_may_still_get_it(
    refused: dict[str, int], had_some: bool, verdict: Verdict, accepted: tuple[str, ...]
) -> None:
    outcome = outcome_of([A, B], refused, had_some=had_some)
    assert (outcome.verdict, outcome.accepted) == (verdict, accepted)
