from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from farebox.events import AccountRef, BillingTerms, Principal
from farebox.matching import Admitted
from farebox.shares import Attributes, PathBudget, Policy
from gateway.policy.policies import UNKNOWN_S, Policies

CALL = Admitted("demo", "openai", "gpt-4o")
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)


def budget(number: int, mode: Any = "hard", **narrowed_to: str) -> PathBudget:
    return PathBudget(
        budget_id=UUID(int=number),
        name="b",
        account=AccountRef(id="acme", kind="org", name="Acme"),
        measure="money",
        currency="USD",
        mode=mode,
        narrowed_to=Attributes(**narrowed_to),
        limit=100,
        spent=0,
        held=0,
        window_start=JUNE,
        resets_at=None,
        ends_in_ms=None,
    )


def policy(*budgets: PathBudget, fresh_for_ms: int = 20_000) -> Policy:
    return Policy(
        principal=Principal(org="acme", user="ann", key="k1"),
        billing=BillingTerms(currency="USD", fx_rate=Decimal(1), fx_source="t", fx_date=date(2026, 1, 1)),
        language="en",
        zone="UTC",
        clamp=False,
        min_output_tokens=16,
        allowed_models=None,
        blocked_models=(),
        budgets=budgets,
        fresh_for_ms=fresh_for_ms,
    )


@pytest.fixture
def policies() -> Policies:
    policies = Policies(fresh_s=30, stale_s=100)
    policies.learn("key", policy(), asked_at=0)
    return policies


def test_a_policy_is_used_while_it_is_fresh(policies: Policies) -> None:
    assert policies.fresh("key", 19.9)
    assert policies.fresh("key", 20.0) is None


def test_no_answer_makes_a_policy_fresh_for_longer_than_revocation_may_take() -> None:
    policies = Policies(fresh_s=30, stale_s=100)
    policies.learn("key", policy(fresh_for_ms=10**9), asked_at=0)
    assert policies.fresh("key", 30.0) is None


@pytest.mark.parametrize("account", ["platform", "acme", "ann", "k1"])
def test_a_change_anywhere_on_the_path_outdates_it(policies: Policies, account: str) -> None:
    policies.changed(account, revoked=False, revision=2, now=1)
    assert policies.fresh("key", 1) is None
    assert policies.stale("key", 1)


def test_a_change_elsewhere_does_not(policies: Policies) -> None:
    policies.changed("other", revoked=False, revision=2, now=1)
    assert policies.fresh("key", 1)


def test_an_answer_to_a_question_from_before_the_change_is_outdated_too(policies: Policies) -> None:
    policies.changed("ann", revoked=False, revision=2, now=5)
    policies.learn("key", policy(), asked_at=4)
    assert policies.fresh("key", 6) is None
    policies.learn("key", policy(), asked_at=6)
    assert policies.fresh("key", 6)


def test_a_revoked_key_is_not_even_used_while_nobody_can_be_asked(policies: Policies) -> None:
    policies.changed("k1", revoked=True, revision=2, now=1)
    assert policies.stale("key", 1) is None


def test_news_from_before_a_revocation_that_come_late_do_not_undo_it(policies: Policies) -> None:
    policies.changed("k1", revoked=True, revision=3, now=1)
    policies.changed("k1", revoked=False, revision=2, now=1)
    assert policies.stale("key", 1) is None
    policies.changed("k1", revoked=False, revision=4, now=1)
    assert policies.stale("key", 1)


def test_news_of_a_change_does_not_unmake_a_revocation(policies: Policies) -> None:
    policies.changed("k1", revoked=True, revision=3, now=1)
    policies.outdated("k1", 2)
    assert policies.stale("key", 2) is None


def test_a_policy_that_this_gateway_has_said_to_know_changed_is_not_used_while_nobody_can_be_asked(
    policies: Policies,
) -> None:
    policies.outdated("ann", 1)
    assert policies.stale("key", 1) is None
    policies.learn("key", policy(), asked_at=2)
    assert policies.stale("key", 50)


def test_nor_is_any_once_all_may_have_changed(policies: Policies) -> None:
    policies.all_changed(1)
    policies.changed("ann", revoked=False, revision=2, now=2)
    assert policies.stale("key", 2) is None


def test_a_stale_policy_has_its_bound(policies: Policies) -> None:
    assert policies.stale("key", 100)
    assert policies.stale("key", 100.1) is None


def test_an_unknown_key_is_remembered_for_a_moment(policies: Policies) -> None:
    policies.forget("key", 1)
    assert policies.fresh("key", 1) is None
    assert policies.is_unknown("key", 1 + UNKNOWN_S / 2)
    assert not policies.is_unknown("key", 1 + UNKNOWN_S)


def test_only_hard_budgets_that_apply_hold_a_call() -> None:
    policies = Policies(fresh_s=30, stale_s=100)
    narrowed = budget(3, model="gpt-4o-mini")
    key_policy = policies.learn("key", policy(budget(2), narrowed, budget(1, mode="soft")), asked_at=0)
    assert [window.key.budget_id.int for window in key_policy.path(CALL)] == [2]
    assert [window.key.budget_id.int for window in key_policy.path(CALL._replace(model="gpt-4o-mini"))] == [2, 3]


@pytest.mark.parametrize(
    "narrowed", [{"provider": "demo"}, {"provider": "OpenAI"}, {"model": "GPT-4o"}, {"model": "gpt-4o-2024-08-06"}]
)
def test_a_narrowed_budget_holds_a_call_by_any_name_of_its_provider_and_model(narrowed: dict[str, str]) -> None:
    key_policy = Policies(fresh_s=30, stale_s=100).learn("key", policy(budget(1, **narrowed)), asked_at=0)
    assert len(key_policy.path(CALL)) == 1


def test_of_two_answers_the_newer_window_wins_whichever_comes_last() -> None:
    policies = Policies(fresh_s=30, stale_s=100)
    june = policies.learn("a", policy(budget(1)), asked_at=0)
    july = budget(1).model_copy(update={"window_start": JULY, "spent": 5})
    policies.learn("b", policy(july), asked_at=1)
    policies.learn("c", policy(budget(1).model_copy(update={"spent": 99})), asked_at=2)
    assert [window.key.start for window in june.path(CALL)] == [JULY]
    assert june.budgets[0].spent == 5


def test_a_slow_answer_does_not_end_a_window_early() -> None:
    """An instant counted from the question is never late: of two, the later is nearer the truth."""
    policies = Policies(fresh_s=30, stale_s=100)
    ending = budget(1).model_copy(update={"ends_in_ms": 7_000})
    key_policy = policies.learn("a", policy(ending), asked_at=10)
    policies.learn("b", policy(ending.model_copy(update={"ends_in_ms": 6_900})), asked_at=13)
    assert [window.ends_at for window in key_policy.path(CALL)] == [19.9]


def test_keys_share_their_budgets_figures() -> None:
    policies = Policies(fresh_s=30, stale_s=100)
    first = policies.learn("a", policy(budget(1)), asked_at=0)
    policies.learn("b", policy(budget(1).model_copy(update={"spent": 70})), asked_at=1)
    assert first.budgets[0].spent == 70
