from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from farebox.events import AccountRef, BillingTerms, Principal
from farebox.leasing import Attributes, PathBudget, Policy
from gateway.policy.policies import UNKNOWN_S, Policies

ANY = (None, None, None, None)


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
        resets_at=None,
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


def test_a_stale_policy_has_its_bound(policies: Policies) -> None:
    assert policies.stale("key", 100)
    assert policies.stale("key", 100.1) is None


def test_an_unknown_key_is_remembered_for_a_moment(policies: Policies) -> None:
    policies.forget("key", 1)
    assert policies.fresh("key", 1) is None
    assert policies.is_unknown("key", 1 + UNKNOWN_S / 2)
    assert not policies.is_unknown("key", 1 + UNKNOWN_S)


def test_only_hard_budgets_that_apply_need_a_lease() -> None:
    policies = Policies(fresh_s=30, stale_s=100)
    known = policies.learn("key", policy(budget(3, model="gpt-4o"), budget(2), budget(1, mode="soft")), asked_at=0)
    assert known.hard_pool(ANY) == ("USD", (UUID(int=2),))
    assert known.hard_pool((None, "gpt-4o", None, None)) == ("USD", (UUID(int=2), UUID(int=3)))


def test_keys_share_their_budgets_figures() -> None:
    policies = Policies(fresh_s=30, stale_s=100)
    first = policies.learn("a", policy(budget(1)), asked_at=0)
    policies.learn("b", policy(budget(1).model_copy(update={"spent": 70})), asked_at=1)
    assert first.budgets[0].spent == 70
