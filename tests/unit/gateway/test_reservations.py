"""From a call to the right to send it, against the budget service's own operations."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY
from pydantic import HttpUrl

from farebox.auth import key_hash
from farebox.money import NANO, decimal_text
from farebox.pricing import PriceRow
from farebox.shares import RaiseAnswer, RaiseRequest
from gateway.admission.estimate import Reason
from gateway.admission.verdict import Refused, Reservation
from gateway.budget_link.questions import Question, Raise
from gateway.budget_link.standing import SILENT_S
from gateway.errors import Fenced, UnknownKey
from gateway.refusals.refusals import refused
from gateway.upstreams.directory import ModelCapacity, Upstream, UpstreamConfig
from support.admitting import Admitting
from support.eventually import eventually
from support.fake_budget import FakeAccount, FakeBudget
from support.reservations import UPSTREAM

KEY = "fbx_ann"


@pytest.fixture
def budgets() -> Iterator[FakeBudget]:
    service = FakeBudget(secret="-")
    yield service
    service.close()


@pytest.fixture
async def gateway(budgets: FakeBudget, tmp_path: Path) -> AsyncIterator[Admitting]:
    admitting = Admitting(budgets, tmp_path)
    running = asyncio.create_task(admitting.heartbeat.run())
    await eventually(lambda: not admitting.standing.unready())
    yield admitting
    running.cancel()
    admitting.journal.close()


def held(verdict: Reservation | Refused) -> Reservation:
    assert isinstance(verdict, Reservation), verdict
    assert verdict.hold
    return verdict


def released(gateway: Admitting, verdict: Reservation) -> None:
    assert verdict.hold
    gateway.shares.void(verdict.hold)


def window(verdict: Reservation | Refused) -> datetime:
    """The start of the one that holds it."""
    (share,) = held(verdict).hold.shares  # type: ignore[union-attr]  # it was looked for
    return share.key.start


def reason(verdict: Reservation | Refused) -> Reason:
    assert isinstance(verdict, Refused)
    return verdict.reason


async def test_the_first_call_of_a_key_costs_one_question_and_the_next_none(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    account = budgets.open(KEY)
    first = held(await gateway.admit(KEY))
    released(gateway, first)
    assert held(await gateway.admit(KEY)).estimate == first.estimate
    assert [bool(each.asks[0].opening) for each in gateway.service.raises] == [True]
    assert account.held == first.estimate.amount.money


async def test_calls_that_come_together_share_few_questions(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    verdicts = await asyncio.gather(*(gateway.admit(KEY) for _ in range(80)))
    assert all(held(each) for each in verdicts)
    assert len(gateway.service.raises) < 10


async def test_no_more_is_admitted_than_the_limit_bears(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    worst = held(await gateway.admit(KEY)).estimate.amount.money
    account = budgets.open("fbx_bob", user="bob", limit=5 * worst + 1)
    verdicts = await asyncio.gather(*(gateway.admit("fbx_bob") for _ in range(9)))
    assert sum(isinstance(each, Reservation) for each in verdicts) == 5
    assert {reason(each) for each in verdicts if isinstance(each, Refused)} == {Reason.BUDGET_EXCEEDED}
    assert account.held <= account.limit


async def test_a_refusal_tells_what_is_left_in_this_gateways_own_hand(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    worst = held(await gateway.admit(KEY)).estimate.amount.money
    budgets.open("fbx_bob", user="bob", limit=worst + worst // 2)
    window = held(await gateway.admit("fbx_bob")).key_policy.budgets[0].window
    await gateway.questions.obtain(Question(key_hash("fbx_bob"), raises=(Raise(window, worst // 2, worst // 2),)))
    verdict = await gateway.admit("fbx_bob")
    assert isinstance(verdict, Refused)
    details = refused(verdict, "gpt-4o", gateway.clock.now()).details
    assert (details["remaining"], details["held"]) == (decimal_text(worst // 2), decimal_text(worst))


async def test_an_unknown_key_is_told_apart(gateway: Admitting) -> None:
    with pytest.raises(UnknownKey):
        await gateway.admit("fbx_nobody")


async def test_a_model_without_a_price_is_refused_and_named(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    named = {"provider": "openai", "model": "no-such-price"}
    assert reason(await gateway.admit(KEY, model="no-such-price")) is Reason.MODEL_NOT_PRICED
    assert REGISTRY.get_sample_value("farebox_gateway_unpriced_models_total", named) == 1


@pytest.mark.parametrize("blocked", ["gpt-4o", "GPT-4o", "gpt-4o-2024-08-06"])
async def test_a_blocked_model_is_refused_by_any_of_its_names(
    gateway: Admitting, budgets: FakeBudget, blocked: str
) -> None:
    budgets.open(KEY).set(blocked_models=(blocked,))
    assert reason(await gateway.admit(KEY)) is Reason.MODEL_NOT_ALLOWED


async def test_a_changed_policy_is_known_with_the_next_beat(gateway: Admitting, budgets: FakeBudget) -> None:
    account = budgets.open(KEY)
    held(await gateway.admit(KEY))
    account.set(blocked_models=("gpt-4o",))

    async def refused() -> bool:
        return isinstance(await gateway.admit(KEY), Refused)

    await eventually(refused)


async def test_a_call_is_cut_to_what_is_left_once_no_more_is_to_be_had(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY, limit=2_500_000, clamp=True)
    verdict = held(await gateway.admit(KEY, max_tokens=4000))
    assert 16 <= verdict.estimate.bounds.output < 250


async def test_a_call_is_not_cut_to_what_is_in_hand_when_its_key_is_opened_anew(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    budgets.open(KEY, clamp=True)
    released(gateway, held(await gateway.admit(KEY, max_tokens=20)))
    gateway.policies.all_changed(gateway.clock.monotonic())
    gateway.clock.move(timedelta(seconds=1))
    assert held(await gateway.admit(KEY, max_tokens=8000)).estimate.bounds.output == 8000


async def test_what_lies_idle_elsewhere_is_waited_for(gateway: Admitting, budgets: FakeBudget) -> None:
    account = budgets.open(KEY, limit=NANO, idle_elsewhere=NANO)
    asked = asyncio.create_task(gateway.admit(KEY))
    await eventually(lambda: len(gateway.service.raises) > 0)
    budgets.do(budgets.others_return())
    assert held(await asked)
    assert account.held <= NANO


async def test_a_call_of_the_next_month_is_held_in_the_next_window(gateway: Admitting, budgets: FakeBudget) -> None:
    account = budgets.open(KEY)
    before = window(await gateway.admit(KEY))
    account.roll_over()
    after = [window(await gateway.admit(KEY, max_tokens=9000)) for _ in range(2)]
    assert before < after[0] == after[1]


async def test_a_soft_budget_holds_nothing(gateway: Admitting, budgets: FakeBudget) -> None:
    account = budgets.open(KEY, mode="soft", limit=1)
    verdict = await gateway.admit(KEY)
    assert isinstance(verdict, Reservation)
    assert (verdict.hold, account.shares) == (None, [])


@pytest.mark.parametrize("mode", ["hard", "soft"])
async def test_a_fenced_gateway_admits_nothing(gateway: Admitting, budgets: FakeBudget, mode: str) -> None:
    budgets.open(KEY, mode=mode)
    await gateway.admit(KEY)
    gateway.standing.is_fenced = True
    with pytest.raises(Fenced):
        await gateway.admit(KEY)


async def test_a_gateway_that_is_fenced_while_it_asks_admits_nothing(
    gateway: Admitting, budgets: FakeBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was made before the newer process came; the beat that told of it was faster."""
    budgets.open(KEY)
    answer = gateway.service.raise_shares

    async def overtaken(request: RaiseRequest) -> RaiseAnswer:
        answered = await answer(request)
        gateway.standing.is_fenced = True
        return answered

    monkeypatch.setattr(gateway.service, "raise_shares", overtaken)
    with pytest.raises(Fenced):
        await gateway.admit(KEY)


async def test_without_the_budget_service_what_is_in_hand_is_spent_and_then_calls_are_refused(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    budgets.open(KEY)
    first = held(await gateway.admit(KEY))
    released(gateway, first)
    gateway.service.is_away = True
    assert held(await gateway.admit(KEY))
    assert reason(await gateway.admit(KEY)) is Reason.BUDGET_UNAVAILABLE


@pytest.mark.parametrize(("mode", "is_admitted"), [("hard", False), ("soft", True)])
async def test_a_gateway_that_is_not_heard_for_long_admits_nothing_under_hard_budgets(
    gateway: Admitting, budgets: FakeBudget, mode: str, is_admitted: bool
) -> None:
    budgets.open(KEY, mode=mode)
    await gateway.admit(KEY)
    gateway.service.is_away = True
    await gateway.heartbeat.stop()
    gateway.clock.move(timedelta(seconds=SILENT_S))
    assert isinstance(await gateway.admit(KEY), Reservation) == is_admitted


async def hardened(gateway: Admitting, account: FakeAccount) -> None:
    """An administrator makes the budget hard, and the gateway says that it has heard of it."""
    account.service.store.tables.budgets[account.budget_id] = replace(account.budget, mode="hard")
    account.service.store.change_policy(account.user)
    gateway.clock.move(timedelta(seconds=1))
    for _ in range(2):
        await gateway.heartbeat._beat(also=0)
    gateway.clock.move(timedelta(seconds=1))


async def test_what_was_known_before_a_confirmed_change_admits_nothing_while_the_service_is_away(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    account = budgets.open(KEY, mode="soft", limit=1)
    assert isinstance(await gateway.admit(KEY), Reservation)
    await hardened(gateway, account)
    gateway.service.is_away = True
    assert reason(await gateway.admit(KEY)) is Reason.BUDGET_UNAVAILABLE


async def test_an_answer_from_before_a_confirmed_change_admits_nothing(gateway: Admitting, budgets: FakeBudget) -> None:
    account = budgets.open(KEY, mode="soft", limit=1)
    is_asked, goes_on, answered = asyncio.Event(), asyncio.Event(), gateway.service.raise_shares

    async def late(request: RaiseRequest) -> RaiseAnswer:
        answer = await answered(request)
        is_asked.set()
        await goes_on.wait()
        return answer

    gateway.service.raise_shares = late  # type: ignore[method-assign]
    call = asyncio.create_task(gateway.admit(KEY))
    await is_asked.wait()
    await hardened(gateway, account)
    goes_on.set()
    assert reason(await call) is Reason.BUDGET_EXCEEDED


CLAUDE = Upstream(
    UpstreamConfig(
        name="claude", provider="anthropic", dialect="anthropic", base_url=HttpUrl("http://x"), models=("*",)
    ),
    None,
)


async def test_a_call_that_states_no_limit_gets_the_accounts_default(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    verdict = held(await gateway.admit(KEY, max_tokens=None))
    assert verdict.output_limit == verdict.estimate.bounds.output == 16_384


async def test_no_call_gets_a_limit_above_its_models_longest_answer(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    assert held(await gateway.admit(KEY, model="gpt-4-turbo", max_tokens=None)).output_limit == 4_096


@pytest.mark.parametrize("clamp", [False, True])
async def test_an_answer_nobody_limited_is_worth_a_quarter_of_what_is_left(
    gateway: Admitting, budgets: FakeBudget, clamp: bool
) -> None:
    budgets.open(KEY, limit=40_000_000, clamp=clamp)
    verdict = held(await gateway.admit(KEY, max_tokens=None))
    assert verdict.output_limit == 1_000  # of gpt-4o, at 10 USD a million


async def test_calls_without_limits_side_by_side_share_what_is_left(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY, limit=40_000_000)
    verdicts = [held(await gateway.admit(KEY, max_tokens=None)) for _ in range(8)]
    limits = [verdict.output_limit or 0 for verdict in verdicts]
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] >= 16


async def test_a_stated_limit_is_sent_as_it_is_in_an_account_that_does_not_clamp(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    budgets.open(KEY)
    verdict = held(await gateway.admit(KEY, max_tokens=128_000))
    assert (verdict.output_limit, verdict.estimate.bounds.output) == (None, 128_000)


async def test_sdks_that_ask_for_128000_tokens_are_served_near_a_small_budget(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    budgets.open(KEY, limit=2_500_000, clamp=True)
    verdict = held(await gateway.admit(KEY, max_tokens=128_000))
    assert verdict.output_limit == verdict.estimate.bounds.output
    assert 16 <= verdict.output_limit < 250


@pytest.mark.parametrize(
    ("mode", "measure", "limit"), [("soft", "money", 1), ("shadow", "money", 1), ("hard", "requests", 100)]
)
async def test_what_no_hard_budget_of_money_or_tokens_limits_gets_no_limit_it_did_not_ask_for(
    gateway: Admitting, budgets: FakeBudget, mode: Any, measure: Any, limit: int
) -> None:
    budgets.open(KEY, mode=mode, measure=measure, limit=limit)
    verdict = await gateway.admit(KEY, max_tokens=None)
    assert isinstance(verdict, Reservation)
    assert (verdict.output_limit, verdict.service_tier) == (None, None)


async def test_anthropics_dialect_demands_a_limit_whatever_the_budget(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY, mode="soft", limit=1)
    verdict = await gateway.admit(KEY, CLAUDE, model="claude-haiku-4-5", max_tokens=None)
    assert isinstance(verdict, Reservation)
    assert verdict.output_limit == 16_384


@pytest.mark.parametrize(("stated", "sent"), [(None, "default"), ("default", None), ("priority", None)])
async def test_an_absent_tier_is_sent_as_the_standard_one(
    gateway: Admitting, budgets: FakeBudget, stated: str | None, sent: str | None
) -> None:
    budgets.open(KEY)
    assert held(await gateway.admit(KEY, service_tier=stated)).service_tier == sent


async def test_a_refusal_says_what_the_call_needs(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    worst = held(await gateway.admit(KEY)).estimate.amount.money
    budgets.open("fbx_bob", user="bob", limit=worst - 1)
    verdict = await gateway.admit("fbx_bob")
    assert isinstance(verdict, Refused)
    assert refused(verdict, "gpt-4o", gateway.clock.now()).details["required"] == decimal_text(worst)


async def test_a_refusal_of_a_call_that_may_be_cut_says_the_least_it_can_do_with(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    budgets.open(KEY)
    least = held(await gateway.admit(KEY, max_tokens=16)).estimate.amount.money
    budgets.open("fbx_bob", user="bob", limit=least // 2, clamp=True)
    verdict = await gateway.admit("fbx_bob", max_tokens=500)
    assert isinstance(verdict, Refused)
    assert verdict.required is not None
    assert least <= verdict.required < least * 2


@pytest.mark.parametrize(("mode", "is_admitted"), [("hard", False), ("soft", True)])
async def test_a_model_of_unknown_capacity_has_no_bound_under_a_hard_budget(
    gateway: Admitting, budgets: FakeBudget, mode: Any, is_admitted: bool
) -> None:
    budgets.open(KEY, mode=mode)
    gateway.price("in-house-7b")
    verdict = await gateway.admit(KEY, model="in-house-7b", max_tokens=None)
    assert isinstance(verdict, Reservation) == is_admitted
    if isinstance(verdict, Refused):
        assert verdict.reason is Reason.MODEL_NOT_BOUNDED
        assert "max_output_tokens" in verdict.detail


async def test_an_operators_figures_bound_a_model_that_no_catalogue_lists(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    budgets.open(KEY)
    gateway.price("in-house-7b")
    capacities = (ModelCapacity(models="in-house-*", max_output_tokens=700),)
    upstream = replace(UPSTREAM, config=UPSTREAM.config.model_copy(update={"capacities": capacities}))
    assert held(await gateway.admit(KEY, upstream, model="in-house-7b", max_tokens=None)).output_limit == 700


@pytest.mark.parametrize(("mode", "is_admitted"), [("hard", False), ("soft", True)])
async def test_a_field_that_no_table_knows_passes_where_nothing_has_to_hold(
    gateway: Admitting, budgets: FakeBudget, mode: Any, is_admitted: bool
) -> None:
    budgets.open(KEY, mode=mode)
    verdict = await gateway.admit(KEY, brand_new_field=1)
    assert isinstance(verdict, Reservation) == is_admitted
    if isinstance(verdict, Refused):
        assert (verdict.reason, verdict.detail) == (Reason.FIELD_NOT_BOUNDED, "brand_new_field")


async def test_the_dearest_of_the_models_that_may_answer_is_held_for(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY)
    reseller = replace(UPSTREAM, config=UPSTREAM.config.model_copy(update={"provider": "openrouter"}))
    cheap, dear = "openai/gpt-4o-mini", "openai/gpt-4o"
    alone, dearest, both = [
        held(await gateway.admit(KEY, reseller, model=model, models=models)).estimate.cost_nano_usd
        for model, models in ((cheap, None), (dear, None), (cheap, [dear]))
    ]
    assert alone < dearest <= both < dearest * 2


async def test_every_model_that_may_answer_must_be_allowed(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY).set(blocked_models=("openai/gpt-4o",))
    reseller = replace(UPSTREAM, config=UPSTREAM.config.model_copy(update={"provider": "openrouter"}))
    asked = {"model": "openai/gpt-4o-mini", "models": ["openai/gpt-4o"]}
    assert reason(await gateway.admit(KEY, reseller, **asked)) is Reason.MODEL_NOT_ALLOWED


@pytest.mark.parametrize(("fields", "uses"), [({}, 5), ({"max_uses": 2}, None)])
async def test_a_search_that_states_no_number_of_uses_gets_one_that_is_held_for(
    gateway: Admitting, budgets: FakeBudget, fields: dict[str, int], uses: int | None
) -> None:
    budgets.open(KEY, limit=1_000_000_000_000)
    tool = {"type": "web_search_20250305", "name": "web_search", **fields}
    verdict = held(await gateway.admit(KEY, CLAUDE, model="claude-haiku-4-5", max_tokens=9, tools=[tool]))
    assert verdict.search_uses == uses
    assert verdict.estimate.bounds.exposure.tool_calls == (("web_search", uses or 2),)


@pytest.mark.parametrize("change", [{"provider": "anthropic-vertex"}, {"allow_fields": ("tools:web_search",)}])
async def test_a_search_gets_no_number_where_it_is_not_the_vendors_own_or_the_operator_answers_for_it(
    gateway: Admitting, budgets: FakeBudget, change: dict[str, Any]
) -> None:
    budgets.open(KEY, limit=1_000_000_000_000)
    upstream = replace(CLAUDE, config=CLAUDE.config.model_copy(update=change))
    tool = {"type": "web_search_20250305", "name": "web_search"}
    verdict = await gateway.admit(KEY, upstream, model="claude-haiku-4-5", max_tokens=9, tools=[tool])
    assert isinstance(verdict, Refused) or verdict.search_uses is None


async def test_a_search_no_hard_budget_limits_gets_no_number_it_did_not_ask_for(
    gateway: Admitting, budgets: FakeBudget
) -> None:
    budgets.open(KEY, mode="soft", limit=1)
    tool = {"type": "web_search_20250305", "name": "web_search"}
    verdict = await gateway.admit(KEY, CLAUDE, model="claude-haiku-4-5", max_tokens=9, tools=[tool])
    assert isinstance(verdict, Reservation)
    assert verdict.search_uses is None


def lopsided(gateway: Admitting) -> Upstream:
    """Of two models that answer for each other one is dear to ask, the other dear to answer."""
    for model, into, out in (("asks", "100", "1"), ("answers", "1", "100")):
        row = {"id": model, "provider": "openrouter", "model": model, "rates": {"input": into, "output": out}}
        row |= {"effective_from": "2026-01-01T00:00:00Z", "source": "test"}
        gateway.catalogue.add(PriceRow.model_validate(row))
    capacities = (ModelCapacity(models="*", context_window=100_000, max_output_tokens=50_000),)
    config = UPSTREAM.config.model_copy(update={"provider": "openrouter", "capacities": capacities})
    return replace(UPSTREAM, config=config)


LONG: Any = {"model": "answers", "models": ["asks"], "messages": [{"role": "user", "content": "x" * 5_000}]}


async def test_what_is_cut_still_holds_for_every_model_that_may_answer(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY, limit=NANO)
    verdict = held(await gateway.admit(KEY, lopsided(gateway), **LONG, max_tokens=None))
    assert verdict.estimate.amount.money >= 5_000 * 100_000 + verdict.estimate.bounds.output * 1_000


async def test_what_can_be_cut_to_fit_for_one_model_alone_is_refused(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY, limit=NANO // 10, clamp=True)
    verdict = await gateway.admit(KEY, lopsided(gateway), **LONG, max_tokens=50_000)
    assert reason(verdict) is Reason.BUDGET_EXCEEDED


async def test_tokens_are_held_for_the_model_that_may_read_the_most(gateway: Admitting, budgets: FakeBudget) -> None:
    budgets.open(KEY, limit=10**6, measure="tokens")
    reseller = lopsided(gateway)
    windows = tuple(
        ModelCapacity(models=model, context_window=window) for model, window in (("answers", 1_000), ("asks", 9_000))
    )
    reseller = replace(reseller, config=reseller.config.model_copy(update={"capacities": windows}))
    file = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]
    asked: Any = {"model": "answers", "models": ["asks"], "messages": file, "max_tokens": 50_000}
    verdict = held(await gateway.admit(KEY, reseller, **asked))
    assert verdict.estimate.amount.tokens >= 59_000


@pytest.mark.parametrize(("provider", "field"), [("deepseek", "max_tokens"), ("openai", "max_completion_tokens")])
async def test_a_limit_goes_under_the_field_that_the_model_takes_where_it_may_not_know_the_other(
    gateway: Admitting, budgets: FakeBudget, provider: str, field: str
) -> None:
    budgets.open(KEY)
    upstream = replace(UPSTREAM, config=UPSTREAM.config.model_copy(update={"provider": provider}))
    model = {"deepseek": "deepseek-chat", "openai": "gpt-4o"}[provider]
    verdict = held(await gateway.admit(KEY, upstream, model=model, max_tokens=None, max_completion_tokens=50))
    limit_field = upstream.limit_field(model)
    sent = verdict.call.sent(
        output_limit=verdict.output_limit, limit_field=limit_field, moves_limit=verdict.moves_limit
    )
    limits = {name: count for name, count in orjson.loads(sent).items() if name.startswith("max_")}
    assert limits == {field: 50}
