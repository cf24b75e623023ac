"""What an answer comes to: believed within bounds, priced as what was asked or served, estimated otherwise."""

from typing import Any

import pytest

from farebox.pricing import Catalogue, Usage, UsageSource
from gateway.admission.verdict import Reservation
from gateway.attempts.charge import Charge, charged
from gateway.attempts.event import Outcome, Reprice
from gateway.attempts.report import Seen, outcome_of
from gateway.dialects.reports import Report
from gateway.upstreams.directory import Upstream
from support.reservations import NOW, UPSTREAM, reservation

CATALOGUE = Catalogue()
TOKENS = {"prompt_tokens": 40, "completion_tokens": 20}
SEEN = Seen(output_tokens=7)
BELIEVED = 5_000_000


def answered(usage: object, model: str = "gpt-4o", **more: Any) -> Outcome:
    return outcome_of(reservation(), Report(usage, model, **more), 200, SEEN, believed_tokens=BELIEVED)


def charge_of(outcome: Outcome, admitted: Reservation | None = None) -> Charge:
    served = CATALOGUE.rates_for("openai", outcome.served_model, NOW)
    return charged(admitted or reservation(), outcome, served)


def reported(model: str = "gpt-4o", **usage: Any) -> Outcome:
    return Outcome(Usage(input=40, output=20, **usage), model, 200)


@pytest.mark.parametrize(
    "usage",
    [
        TOKENS | {"completion_tokens": 10**11},
        TOKENS | {"total_tokens": 10**11},
        TOKENS | {"num_sources_used": 1_001},
        {"prompt_tokens": 40},
        TOKENS | {"prompt_tokens": -40},
    ],
)
def test_what_no_call_can_have_used_is_not_believed_and_its_numbers_are_kept(usage: dict[str, int]) -> None:
    outcome = answered(usage)
    assert (outcome.usage.source, outcome.usage.output) == (UsageSource.ESTIMATED, 7)
    assert outcome.reported == {name: str(count) for name, count in usage.items()}


def test_the_rest_of_the_reserve_of_what_is_not_believed_is_uncertain() -> None:
    admitted = reservation()
    charge = charge_of(answered(TOKENS | {"completion_tokens": 10**11}), admitted)
    assert charge.amount.money + charge.uncertain.money == admitted.estimate.amount.money
    assert charge.uncertain.requests == 0


def test_more_than_was_held_is_believed_within_reason() -> None:
    outcome = answered(TOKENS | {"completion_tokens": BELIEVED - 40})
    assert (outcome.usage.source, outcome.usage.output) == (UsageSource.REPORTED, BELIEVED - 40)


def test_an_answer_that_reports_nothing_has_no_numbers_to_keep() -> None:
    assert answered(None).reported is None


@pytest.mark.parametrize("model", [None, "", "x" * 257, "gpt\u0000", 4, ["gpt-4o-mini"]])
def test_a_name_that_is_none_is_taken_for_the_model_that_was_asked_for(model: Any) -> None:
    assert answered(TOKENS, model).served_model == "gpt-4o"


def test_who_served_behind_an_upstream_is_told() -> None:
    assert answered(TOKENS, provider="Azure").served_by == "Azure"
    assert answered(TOKENS, provider={"name": "Azure"}).served_by is None


def test_a_cheaper_model_that_nobody_allowed_is_charged_as_the_one_that_was_asked_for() -> None:
    charge = charge_of(reported("gpt-4o-mini"))
    assert charge.outcome.priced_as == Reprice("gpt-4o", "cheaper_model")
    assert charge.amount == charge_of(reported("gpt-4o")).amount


def test_a_cheaper_model_that_may_serve_is_charged_as_itself() -> None:
    allowing = Upstream(UPSTREAM.config.model_copy(update={"may_serve": ("gpt-*-mini",)}), None)
    charge = charge_of(reported("gpt-4o-mini"), reservation()._replace(upstream=allowing))
    assert charge.outcome.priced_as is None
    assert charge.amount.money < charge_of(reported("gpt-4o")).amount.money


def test_a_dearer_model_is_charged_as_itself() -> None:
    charge = charge_of(reported("gpt-4-turbo"))
    assert charge.outcome.priced_as is None
    assert charge.amount.money > charge_of(reported("gpt-4o")).amount.money


def test_a_model_that_nobody_knows_is_charged_as_the_one_that_was_asked_for() -> None:
    charge = charge_of(reported("gpt-99-secret"))
    assert charge.outcome.priced_as == Reprice("gpt-4o", "unknown_model")
    assert charge.amount == charge_of(reported("gpt-4o")).amount


def test_a_dated_name_of_the_same_model_is_no_other_model() -> None:
    assert charge_of(reported("gpt-4o-2024-08-06")).outcome.priced_as is None


@pytest.mark.parametrize("how", [{"service_tier": "ultra"}, {"speed": "warp"}, {"geography": "moon"}])
def test_a_way_of_serving_without_a_price_is_charged_at_the_standard_rate_and_the_rest_is_uncertain(how: Any) -> None:
    charge, standard = charge_of(reported(**how)), charge_of(reported())
    assert (charge.outcome.usage.source, charge.amount) == (UsageSource.ESTIMATED, standard.amount)
    assert charge.uncertain.money > 0
    assert charge.outcome.reported is not None
    assert how.items() <= charge.outcome.reported.items()


def test_a_tool_without_a_price_leaves_the_rest_of_the_reserve_uncertain_beside_the_charge() -> None:
    charge = charge_of(reported(tool_calls={"telepathy": 1}))
    assert charge.outcome.usage.source is UsageSource.REPORTED
    assert charge.amount == charge_of(reported()).amount
    assert charge.uncertain.money > 0


def test_a_counter_that_nobody_knows_holds_nothing_back() -> None:
    charge = charge_of(reported(unknown={"video_tokens": 5}))
    assert (charge.amount, charge.uncertain.money) == (charge_of(reported()).amount, 0)


def test_a_stated_bill_is_the_charge() -> None:
    assert charge_of(reported(stated_cost_nano_usd=7)).amount.money == 7 * 24_167


def test_what_the_provider_refused_costs_nothing() -> None:
    charge = charge_of(Outcome(Usage(requests=0), "gpt-4o", 500, "provider_error"))
    assert (charge.amount.money, charge.uncertain.money, charge.amount.requests) == (0, 0, 0)


@pytest.mark.parametrize(
    "beside", [{"unknown": {"new_counter": 1}}, {"tool_calls": {"new_tool": 1}}, {"service_tier": "new-tier"}]
)
def test_a_cheaper_model_is_not_let_in_by_what_has_no_price(beside: dict[str, Any]) -> None:
    charge = charge_of(reported("gpt-4o-mini", **beside))
    assert charge.outcome.priced_as == Reprice("gpt-4o", "cheaper_model")
    assert charge.amount == charge_of(reported("gpt-4o", **beside)).amount
