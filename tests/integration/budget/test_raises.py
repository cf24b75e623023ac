"""Raises on a real PostgreSQL: all windows or none, never above a limit, repeatable without effect."""

import asyncio
from datetime import timedelta

import pytest

from budget.errors import Fenced
from farebox.events import CallAttributes
from support.budget_service import ANY_CALL, BudgetService, report, total, won

COST = 6_000_000  # nano-USD; at 1,300 won a dollar 7.80 won


async def test_a_key_learns_its_principal_terms_and_shares_in_one_call(service: BudgetService) -> None:
    key = await service.ready("50000")
    answer = await service.raise_(key, COST)
    assert answer.policy is not None
    assert answer.policy.principal.path() == ("platform", "acme", "core", "minh", key["key_id"])
    assert answer.policy.billing.currency == "KRW"
    assert [share.granted for share in answer.shares] == [won("7.8")]


async def test_every_hard_budget_on_the_path_is_raised_or_none_is(service: BudgetService) -> None:
    key = await service.ready("100")
    small = await service.budget("7", account="minh")
    refused = await service.raise_(key, COST)
    assert refused.refusal is not None
    assert refused.refusal.budget_id == small
    assert [share.granted for share in refused.shares] == [0, 0]
    assert (await service.balance("acme"))["held"] == "0"


async def test_each_measure_is_raised_by_its_own_need(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.budget("10", account="core", measure="requests")
    await service.budget("1000", account="minh", measure="tokens")
    await service.budget("1", account="minh", mode="soft")
    answer = await service.raise_(key, COST)
    assert [(share.measure, share.granted) for share in answer.shares] == [
        ("money", won("7.8")),
        ("requests", 1),
        ("tokens", 100),
    ]


async def test_a_raise_asked_for_again_changes_nothing(service: BudgetService) -> None:
    key = await service.ready("50000")
    share = await service.opened(key, COST)
    for _ in range(2):
        again = await service.raise_(key, windows=[total(share, won("20"))])
        assert [each.granted for each in again.shares] == [won("20")]
    assert await service.figures() == ("0", "20")


async def test_an_opening_asked_for_again_changes_nothing(service: BudgetService) -> None:
    key = await service.ready("50000")
    assert await service.opened(key, COST) == await service.opened(key, COST)
    assert await service.figures() == ("0", "7.8")


async def test_openings_sent_at_once_are_granted_once(service: BudgetService) -> None:
    key = await service.ready("50000")
    shares = await asyncio.gather(*(service.opened(key, COST) for _ in range(5)))
    assert {share.granted for share in shares} == {won("7.8")}
    assert await service.figures() == ("0", "7.8")


async def test_a_smaller_total_takes_nothing_back(service: BudgetService) -> None:
    key = await service.ready("50000")
    share = await service.opened(key, COST)
    answer = await service.raise_(key, windows=[total(share, 1)])
    assert [each.granted for each in answer.shares] == [won("7.8")]


async def test_concurrent_raises_never_promise_more_than_the_limit(service: BudgetService) -> None:
    gateways = [f"gw-{number}" for number in range(12)]
    key = await service.ready("50", *gateways)
    answers = await asyncio.gather(*(service.raise_(key, COST, gateway=gateway) for gateway in gateways))
    assert sum(answer.refusal is None for answer in answers) == 6
    assert await service.figures() == ("0", "46.8")


async def test_only_the_windows_that_are_short_are_raised(service: BudgetService) -> None:
    key = await service.ready("100")
    await service.budget("100", account="minh")
    _, own = (await service.raise_(key, COST)).shares
    await service.raise_(key, windows=[total(own, won("20"))])
    assert ((await service.balance("acme"))["held"], (await service.balance("minh"))["held"]) == ("7.8", "20")


async def test_a_path_with_another_budget_opens_the_share_it_lacks_and_no_other(service: BudgetService) -> None:
    key = await service.ready("100")
    mini = await service.budget("10", account="minh", narrowed_to={"model": "gpt-4o-mini"})
    (first,) = (await service.raise_(key, COST)).shares
    both = (await service.raise_(key, 2 * COST, call=ANY_CALL.model_copy(update={"model": "gpt-4o-mini"}))).refusal
    assert both is not None
    assert both.budget_id == mini
    answer = await service.raise_(key, COST, call=ANY_CALL.model_copy(update={"model": "gpt-4o-mini"}))
    assert [(share.budget_id, share.granted) for share in answer.shares] == [
        (first.budget_id, won("7.8")),
        (mini, won("7.8")),
    ]
    assert await service.broken() == set()


@pytest.mark.parametrize(
    ("narrowed_to", "call"),
    [
        ({"provider": "OpenAI-EU"}, {"upstream": "openai-eu"}),
        ({"provider": "openai"}, {"upstream": "openai-eu"}),
        ({"model": "gpt-4o"}, {"model": "GPT-4o"}),
        ({"model": "gpt-4o"}, {"model": "gpt-4o-2024-08-06"}),
        ({"model": "gpt-4o-2024-08-06"}, {"model": "gpt-4o"}),
        ({"provider": "anthropic"}, {"provider": "anthropic", "model": "claude-3-5-haiku-latest"}),
    ],
)
async def test_a_narrowed_budget_holds_a_call_by_every_name_of_its_provider_and_model(
    service: BudgetService, narrowed_to: dict[str, str], call: dict[str, str]
) -> None:
    key = await service.ready("100", narrowed_to=narrowed_to)
    admitted = CallAttributes(**(dict(ANY_CALL) | call))
    assert (await service.opened(key, COST, call=admitted)).granted == won("7.8")


@pytest.mark.parametrize("call", [{"model": "o1"}, {"model": "gpt-4o-mini"}, {"provider": "azure", "upstream": "az"}])
async def test_a_narrowed_budget_holds_no_other_call(service: BudgetService, call: dict[str, str]) -> None:
    key = await service.ready("100", narrowed_to={"provider": "openai", "model": "gpt-4o"})
    assert (await service.raise_(key, COST, call=CallAttributes(**(dict(ANY_CALL) | call)))).shares == ()


async def test_near_the_limit_a_raise_is_exactly_one_request(service: BudgetService) -> None:
    key = await service.ready("30")
    share = await service.opened(key, COST)
    answer = await service.raise_(key, windows=[total(share, won("15.6"), want=won("30"))])
    assert [each.granted for each in answer.shares] == [won("15.6")]


async def test_at_the_limit_a_clamped_request_gets_what_is_left(service: BudgetService) -> None:
    key = await service.ready("7")
    assert (await service.opened(key, COST, least=1)).granted == won("7")


async def test_the_room_of_a_passed_window_is_not_that_of_the_next(service: BudgetService) -> None:
    key = await service.ready("10")
    share = await service.opened(key, COST)
    service.clock.move(timedelta(days=1))
    late = await service.raise_(key, windows=[total(share, won("9"))])
    assert late.shares == ()
    assert late.policy is not None
    assert late.policy.budgets[0].window_start > share.window_start
    assert (await service.opened(key, COST)).window_start == late.policy.budgets[0].window_start
    assert await service.broken() == set()


async def test_reports_that_come_with_an_ask_are_taken_first(service: BudgetService) -> None:
    key = await service.ready("10")
    share = await service.opened(key, COST)
    short = await service.raise_(key, windows=[total(share, won("15.6"))])
    assert short.refusal is not None
    answer = await service.raise_(
        key, windows=[total(share, won("15.6"))], reports=[report(share, returned=won("7.8"))]
    )
    assert [each.granted for each in answer.shares] == [won("15.6")]
    assert await service.figures() == ("0", "7.8")


async def test_an_older_epoch_is_fenced(service: BudgetService) -> None:
    key = await service.ready("10")
    assert await service.start(last_epoch=1) == 2
    with pytest.raises(Fenced):
        await service.raise_(key, COST, epoch=1)
    with pytest.raises(Fenced):
        await service.beat(epoch=1)


async def test_unknown_and_revoked_keys_are_answered_alike_and_beside_others(service: BudgetService) -> None:
    key = await service.ready("10")
    await service.admin.delete(f"/api/keys/{key['key_id']}")
    for unknown in (key, {"api_key": "fbx_nobody"}):
        answer = await service.raise_(unknown, COST)
        assert (answer.policy, answer.shares, answer.refusal) == (None, (), None)
    ((_, event),) = [each for each in await service.told("account.policy") if each[1]["status"] == "revoked"]
    assert event["account_id"] == key["key_id"]


async def test_what_another_gateway_holds_is_recalled_and_can_then_be_had(service: BudgetService) -> None:
    key = await service.ready("10", "first", "second")
    idle = await service.opened(key, COST, gateway="first")
    short = await service.raise_(key, COST, gateway="second")
    assert short.refusal is not None
    assert short.refusal.is_recalling
    assert await service.recalled("first") == [idle.budget_id]
    await service.beat(report(idle, returned=won("7.8")), gateway="first")
    assert await service.recalled("first") == []
    assert (await service.raise_(key, COST, gateway="second")).refusal is None


async def test_where_nobody_else_holds_anything_a_refusal_recalls_nothing(service: BudgetService) -> None:
    key = await service.ready("5")
    short = await service.raise_(key, COST)
    assert short.refusal is not None
    assert not short.refusal.is_recalling


async def test_a_refusal_announces_exhaustion_once(service: BudgetService) -> None:
    key = await service.ready("5")
    await service.raise_(key, COST)
    await service.raise_(key, COST)
    assert [kind for kind, _ in await service.told()] == ["farebox.budget.exhausted.v1"]
