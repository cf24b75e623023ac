"""Leases on a real PostgreSQL: all levels or none, never above a limit, repeatable without effect."""

import asyncio
from datetime import timedelta

import pytest

from budget.errors import Fenced, UnknownKey
from farebox.ids import new_id
from farebox.leasing import Amounts, Attributes, Heartbeat, LeaseReport
from support.office import BudgetOffice, won

COST = 6_000_000  # nano-USD; at 1,300 won a dollar 7.80 won


async def test_a_key_learns_its_principal_terms_and_lease_in_one_call(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("50000")
    key = await office.key()
    await office.start()
    answer = await office.grant(key, COST)
    assert answer.policy.principal.path() == ("platform", "acme", "core", "minh", key["key_id"])
    assert answer.policy.billing.currency == "KRW"
    assert answer.lease is not None
    assert [share.granted for share in answer.lease.shares] == [won("7.8")]


async def test_a_lease_is_taken_from_every_hard_budget_on_the_path_or_from_none(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    small = await office.budget("10", account="minh")
    key = await office.key()
    await office.start()
    assert (await office.grant(key, COST)).lease is not None
    refused = await office.grant(key, COST)
    assert refused.refusal is not None
    assert refused.refusal.budget_id == small
    assert (await office.balance("acme"))["held"] == "7.8"


async def test_a_repeated_grant_is_answered_with_the_same_lease(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("50000")
    key = await office.key()
    await office.start()
    lease_id = new_id()
    first = await office.grant(key, COST, lease_id=lease_id)
    again = await office.grant(key, COST, lease_id=lease_id)
    assert first.lease == again.lease
    assert (await office.balance())["held"] == "7.8"


async def test_concurrent_grants_never_promise_more_than_the_limit(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("50")
    key = await office.key()
    await office.start()
    answers = await asyncio.gather(*(office.grant(key, COST) for _ in range(12)))
    assert sum(answer.lease is not None for answer in answers) == 6
    assert (await office.balance())["held"] == "46.8"


async def test_a_lease_ahead_of_need_takes_a_small_share_of_what_remains(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("800")
    key = await office.key()
    await office.start()
    answer = await office.grant(key, COST, want=1000 * COST)
    assert answer.lease is not None
    assert answer.lease.shares[0].granted == won("100")


async def test_when_clamping_what_is_left_is_granted_down_to_the_least(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("5")
    key = await office.key()
    await office.start()
    answer = await office.grant(key, COST, least=COST // 2)
    assert answer.lease is not None
    assert answer.lease.shares[0].granted == won("5")


async def test_soft_paused_and_other_models_budgets_hold_nothing(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("1", mode="soft")
    await office.budget("2", narrowed_to={"model": "gpt-4o-mini"})
    paused = await office.budget("3")
    await office.admin.patch(f"/api/budgets/{paused}", json={"active": False})
    key = await office.key()
    await office.start()
    answer = await office.grant(key, COST, attributes=Attributes(model="gpt-4o"))
    assert answer.lease is None
    assert answer.refusal is None


async def test_what_a_gateway_returns_can_be_granted_again_in_the_same_call(office: BudgetOffice) -> None:
    await office.org()
    budget = await office.budget("10")
    key = await office.key()
    await office.start()
    first = await office.grant(key, COST)
    assert first.lease is not None
    report = LeaseReport(lease_id=first.lease.lease_id, spent=Amounts(), returned={budget: won("7.8")})
    assert (await office.grant(key, COST, reports=(report,))).lease is not None
    assert (await office.balance())["held"] == "7.8"


async def test_a_gateway_cannot_return_what_it_says_it_spent(office: BudgetOffice) -> None:
    await office.org()
    budget = await office.budget("10")
    key = await office.key()
    await office.start()
    first = await office.grant(key, COST)
    assert first.lease is not None
    lie = LeaseReport(lease_id=first.lease.lease_id, spent=Amounts(money=won("5")), returned={budget: won("7.8")})
    await office.grant(key, 1, reports=(lie, lie))
    assert (await office.balance())["held"] == "5.0000013"


async def test_an_older_epoch_is_fenced(office: BudgetOffice) -> None:
    await office.org()
    key = await office.key()
    assert await office.start() == 1
    assert await office.start(last_epoch=1) == 2
    with pytest.raises(Fenced):
        await office.grant(key, COST, epoch=1)


async def test_a_restart_with_its_whole_journal_frees_leases_that_were_never_used(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    await office.start()
    await office.grant(key, COST)
    used = await office.grant(key, COST)
    assert used.lease is not None
    report = LeaseReport(lease_id=used.lease.lease_id, spent=Amounts(money=won("7.8")))
    await office.start(last_epoch=1, reports=(report,))
    assert (await office.balance())["held"] == "7.8"


async def test_a_restart_without_its_journal_counts_its_leases_as_spent(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    await office.start()
    await office.grant(key, COST)
    await office.start(last_epoch=0)
    balance = await office.balance()
    assert (balance["held"], balance["spent"]) == ("0", "7.8")


async def test_unknown_and_revoked_keys_are_refused_alike(office: BudgetOffice) -> None:
    await office.org()
    key = await office.key()
    await office.start()
    await office.admin.delete(f"/api/keys/{key['key_id']}")
    for unknown in (key, {"api_key": "fbx_nobody"}):
        with pytest.raises(UnknownKey):
            await office.grant(unknown, COST)
    ((_, event),) = await office.told("account.policy")
    assert (event["account_id"], event["status"]) == (key["key_id"], "revoked")


async def test_what_another_gateway_holds_is_recalled_and_can_then_be_granted(office: BudgetOffice) -> None:
    await office.org()
    budget = await office.budget("10")
    key = await office.key()
    await office.start(gateway="first")
    await office.start(gateway="second")
    idle = await office.grant(key, COST, gateway="first")
    assert idle.lease is not None
    short = await office.grant(key, COST, gateway="second")
    assert short.refusal is not None
    assert short.refusal.is_recalling
    assert await office.beat("first") == (idle.lease.lease_id,)
    given_back = LeaseReport(lease_id=idle.lease.lease_id, spent=Amounts(), returned={budget: won("7.8")})
    assert await office.beat("first", (given_back,)) == ()
    assert (await office.grant(key, COST, gateway="second")).lease is not None


async def test_where_nobody_else_holds_anything_a_refusal_recalls_nothing(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("5")
    key = await office.key()
    await office.start()
    short = await office.grant(key, COST)
    assert short.refusal is not None
    assert not short.refusal.is_recalling


async def test_a_silent_gateways_leases_count_as_spent_and_an_operator_may_release_them(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    await office.start()
    await office.grant(key, COST)
    assert await office.wait(timedelta(minutes=9)) == 0
    assert await office.wait(timedelta(minutes=9)) == 1
    assert ((await office.balance())["spent"], (await office.balance())["held"]) == ("7.8", "0")
    (lost,) = (await office.admin.get("/api/suspended-leases")).json()["items"]
    assert (lost["gateway"], lost["held"], lost["currency"]) == ("gw", "7.8", "KRW")
    release = f"/api/suspended-leases/{lost['lease_id']}/release"
    assert (await office.admin.post(release, json={})).status_code == 422
    assert (await office.admin.post(release, json={"reason": "its disk was empty"})).status_code == 200
    assert (await office.admin.post(release, json={"reason": "again"})).status_code == 404
    assert (await office.balance())["spent"] == "0"


async def test_a_lost_gateway_that_comes_back_with_its_journal_settles_its_leases_in_suspense(
    office: BudgetOffice,
) -> None:
    await office.org()
    budget = await office.budget("100")
    key = await office.key()
    await office.start()
    lease = (await office.grant(key, COST)).lease
    assert lease is not None
    await office.wait(timedelta(minutes=10))
    report = LeaseReport(lease_id=lease.lease_id, spent=Amounts(money=won("3")), returned={budget: won("4.8")})
    await office.start(last_epoch=1, reports=(report,))
    assert (await office.balance())["spent"] == "3"
    await office.post(office.priced(key, won("3"), lease.lease_id))
    assert (await office.balance())["spent"] == "3"


async def test_what_a_lost_journal_left_in_suspense_stays_there_whatever_restarts_follow(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    await office.start()
    await office.grant(key, COST)
    assert await office.start(last_epoch=0) == 2
    assert await office.start(last_epoch=2) == 3
    assert (await office.balance())["spent"] == "7.8"


async def test_what_suspense_reached_is_told_once_more_when_it_is_posted_and_its_release_takes_nothing_back(
    office: BudgetOffice,
) -> None:
    await office.org()
    await office.budget("10", thresholds=[{"severity": "warning", "percent": "50"}])
    key = await office.key()
    await office.start()
    lease = (await office.grant(key, COST)).lease
    assert lease is not None
    await office.start(last_epoch=0)
    await office.post(office.priced(key, won("6"), lease.lease_id))
    release = await office.admin.post(f"/api/suspended-leases/{lease.lease_id}/release", json={"reason": "found"})
    assert release.status_code == 200
    assert [kind for kind, _ in await office.told()] == ["farebox.budget.threshold_crossed.v1"] * 2
    assert [event["provisional"] for _, event in await office.told()] == [True, False]


async def test_what_postings_take_out_of_suspense_reaches_only_what_is_posted_by_then(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("10", thresholds=[{"severity": "at", "percent": percent} for percent in ("50", "90")])
    key = await office.key()
    await office.start()
    lease = (await office.grant(key, COST)).lease
    assert lease is not None
    await office.start(last_epoch=0)
    await office.post(*(office.priced(key, won("2.6"), lease.lease_id) for _ in range(3)))
    assert (await office.balance())["spent"] == "7.8"
    told = [(event["threshold"]["percent"], event["provisional"]) for _, event in await office.told()]
    assert told == [("50", True), ("50", False)]


async def test_one_request_sent_twice_at_once_is_granted_once(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    await office.start()
    lease_id = new_id()
    first, second = await asyncio.gather(*(office.grant(key, COST, lease_id=lease_id) for _ in range(2)))
    assert first.lease is not None
    assert second.lease is not None
    assert first.lease.shares == second.lease.shares
    assert (await office.balance())["held"] == "7.8"


async def test_a_lease_whose_answer_never_came_is_given_up_and_its_rights_are_free(office: BudgetOffice) -> None:
    await office.org()
    await office.budget("100")
    key = await office.key()
    epoch = await office.start()
    lost = new_id()
    beat = Heartbeat(gateway_id="gw", epoch=epoch, given_up=(lost,))
    await office.leases.heartbeat(beat)  # before the request arrives
    await office.grant(key, COST, lease_id=lost)
    assert (await office.balance())["held"] == "7.8"
    await office.leases.heartbeat(beat)
    assert (await office.balance())["held"] == "0"
