"""The administrative API: what it gives, and what it refuses with every reason at once."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from farebox.auth import Caller, Role, sign
from farebox.ids import new_id
from support.budget_service import SECRET, BudgetService, won


def as_viewer(service: BudgetService, account: str) -> httpx.AsyncClient:
    token = sign(SECRET, Caller("gateway", Role.VIEWER, account), datetime.now(UTC))
    service.admin.headers["authorization"] = f"Bearer {token}"
    return service.admin


async def test_settings_come_down_the_tree_until_an_account_sets_its_own(service: BudgetService) -> None:
    await service.org(language="ko", zone="Asia/Seoul", blocked_models=["gpt-4"])
    await service.admin.patch("/api/accounts/core", json={"language": "vi", "blocked_models": ["o1"]})
    settings = (await service.admin.get("/api/accounts/minh")).json()["settings"]
    assert (settings["language"], settings["zone"], settings["currency"]) == ("vi", "Asia/Seoul", "KRW")
    assert settings["blocked_models"] == ["gpt-4", "o1"]


async def test_allowed_models_only_narrow_on_the_way_down(service: BudgetService) -> None:
    await service.org(allowed_models=["gpt-4o", "gpt-4o-mini"])
    await service.admin.patch("/api/accounts/minh", json={"allowed_models": ["gpt-4o-mini", "o1"]})
    assert (await service.admin.get("/api/accounts/minh")).json()["settings"]["allowed_models"] == ["gpt-4o-mini"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"id": "x", "kind": "team", "parent": "platform", "name": "X"}, "parent: a team belongs to org"),
        ({"id": "x", "kind": "org", "parent": "platform", "name": "X", "currency": "VND"}, "fx_rate"),
        ({"id": "x", "kind": "org", "parent": "platform", "name": "X", "currency": "XXQ", "fx_rate": "2"}, "currency"),
        ({"id": "x", "kind": "org", "parent": "platform", "name": "X", "fx_rate": 1.5, "currency": "VND"}, "fx_rate"),
        ({"id": "x", "kind": "org", "parent": "platform", "name": "X", "zone": "Mars/Base"}, "zone"),
        ({"id": "x", "kind": "org", "parent": "platform", "name": "X", "colour": "red"}, "colour"),
        ({"id": "a b", "kind": "org", "parent": "platform", "name": "X"}, "id"),
    ],
)
async def test_an_account_that_makes_no_sense_is_refused(service: BudgetService, body: Any, problem: str) -> None:
    answer = await service.admin.post("/api/accounts", json=body)
    assert answer.status_code == 422
    assert any(problem in each for each in answer.json()["error"]["problems"])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"limit": 50000}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "12 won"}, "limit"),
        ({"limit": "1", "measure": "tokens", "thresholds": [{"severity": "x", "amount": "0.5"}]}, "whole number"),
        ({"limit": "1", "thresholds": [{"severity": "x"}]}, "either percent or amount"),
        (
            {"limit": "1", "thresholds": [{"severity": "x", "percent": "50"}, {"severity": "y", "percent": "50.0"}]},
            "same",
        ),
        ({"limit": "1", "window": {"kind": "fortnight"}}, "window"),
        ({"limit": "1", "mode": "firm"}, "mode"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(service: BudgetService, fields: Any, problem: str) -> None:
    await service.org()
    body = {"account": "acme", "name": "daily", "window": {"kind": "day"}} | fields
    answer = await service.admin.post("/api/budgets", json=body)
    assert answer.status_code == 422
    assert any(problem in each for each in answer.json()["error"]["problems"])


async def test_a_second_account_or_budget_of_that_name_is_a_conflict(service: BudgetService) -> None:
    await service.org()
    await service.budget("10", name="daily")
    again = {"account": "acme", "name": "daily", "limit": "20", "window": {"kind": "day"}}
    assert (await service.admin.post("/api/budgets", json=again)).status_code == 409
    org = {"id": "acme", "kind": "org", "parent": "platform", "name": "Again"}
    assert (await service.admin.post("/api/accounts", json=org)).status_code == 409


async def test_a_budget_above_accounts_of_two_currencies_is_refused(service: BudgetService) -> None:
    await service.org(currency="KRW")
    body = {"account": "platform", "name": "all", "limit": "10", "window": {"kind": "day"}}
    answer = await service.admin.post("/api/budgets", json=body)
    assert answer.status_code == 422
    assert "KRW" in answer.text


async def test_an_account_cannot_leave_the_currency_of_its_budgets(service: BudgetService) -> None:
    await service.org(currency="KRW")
    await service.budget("10", account="minh")
    answer = await service.admin.patch("/api/accounts/acme", json={"currency": "VND", "fx_rate": "24167"})
    assert answer.status_code == 422


async def test_a_key_is_shown_once_and_only_its_hash_is_kept(service: BudgetService) -> None:
    await service.org()
    key = await service.key()
    listed = (await service.admin.get("/api/keys", params={"account": "acme"})).json()["items"]
    assert [each["key_id"] for each in listed] == [key["key_id"]]
    assert key["api_key"] not in str(listed)
    assert key["api_key"].startswith(listed[0]["hint"])


async def test_a_viewer_sees_its_own_balances_and_nobody_elses(service: BudgetService) -> None:
    await service.org()
    await service.budget("10")
    viewer = as_viewer(service, "minh")
    assert len((await viewer.get("/api/balances")).json()["items"]) == 1
    assert (await viewer.get("/api/balances", params={"account": "acme"})).status_code == 403
    assert (await viewer.post("/api/keys", json={"account": "minh", "name": "x"})).status_code == 403


async def test_without_a_service_token_nothing_is_answered(service: BudgetService) -> None:
    service.admin.headers.pop("authorization")
    assert (await service.admin.get("/api/balances")).status_code == 401
    assert (await service.admin.post("/internal/v2/raises", json={})).status_code == 401


async def test_people_cannot_reach_the_share_api(service: BudgetService) -> None:
    assert (await service.admin.post("/internal/v2/beats", json={})).status_code == 403


async def test_malformed_and_oversized_bodies_are_refused(service: BudgetService) -> None:
    assert (await service.admin.post("/api/accounts", content=b"{not json")).status_code == 422
    assert (await service.admin.post("/api/accounts", content=b"x" * (2 << 20))).status_code == 413


async def test_a_raised_limit_shows_at_once(service: BudgetService) -> None:
    await service.org()
    budget = await service.budget("10")
    key = await service.key()
    await service.post(service.priced(key, won("4")))
    answer = await service.admin.patch(f"/api/budgets/{budget}", json={"limit": "12.5"})
    assert (answer.json()["limit"], answer.json()["limit_revision"]) == ("12.5", 2)
    assert (await service.balance())["remaining"] == "8.5"


@pytest.mark.parametrize("message", ["starts", "grants", "heartbeats"])
async def test_a_gateway_of_the_version_before_is_told_to_drain(service: BudgetService, message: str) -> None:
    token = sign(SECRET, Caller("gw", Role.SERVICE), datetime.now(UTC))
    headers = {"authorization": f"Bearer {token}"}
    answer = await service.admin.post(f"/internal/v1/{message}", json={"gateway_id": "gw"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "fenced")


async def test_a_gateway_starts_beats_and_raises_by_http(service: BudgetService) -> None:
    headers = {"authorization": f"Bearer {sign(SECRET, Caller('gw', Role.SERVICE), datetime.now(UTC))}"}

    async def said(what: str, **body: Any) -> Any:
        return await service.admin.post(f"/internal/v2/{what}", json={"gateway_id": "gw"} | body, headers=headers)

    start = await said("starts", process_id=str(new_id()), last_epoch=0, last_record=0, is_whole=True)
    assert start.json()["epoch"] == 1
    assert (await said("raises", epoch=1, asks=[{"key_hash": "0" * 64}])).json()["answers"][0]["policy"] is None
    assert (await said("beats", epoch=1)).json()["recalled"] == []
    assert (await said("beats", epoch=2)).status_code == 409
