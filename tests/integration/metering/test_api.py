"""`/api/usage`, `/api/charges`, `/api/prices`, `/api/suspense`."""

from typing import Any

import pytest

from farebox.auth import Caller, Role
from farebox.ids import new_id
from support.attempts import ALICE, BOB, VND, attempt
from support.metering_service import ADMIN, MeteringService

ALICES = Caller("gateway", Role.VIEWER, "alice")


async def test_usage_adds_up_by_account(service: MeteringService) -> None:
    await service.post(
        attempt(), attempt(outcome="provider_error"), attempt(principal=BOB), attempt(served_model="gpt-99")
    )
    whole = await service.summary(account="acme")
    assert (whole["requests"], whole["tokens"], whole["cost_usd"]) == (3, 3_000, "0.01875")
    assert (whole["billed"], whole["success_rate"], whole["unpriced_attempts"]) == ({"USD": "0.01875"}, "66.67", 1)
    for account, requests in {"alice": 2, "search": 1, "key-b": 1, "platform": 3, "nobody": 0}.items():
        assert (await service.summary(account=account))["requests"] == requests


@pytest.mark.parametrize("by", ["model", "provider", "feature", "org", "team", "user", "key", "session", "day"])
async def test_usage_is_grouped_by_every_dimension(service: MeteringService, by: str) -> None:
    await service.post(attempt(), attempt(principal=BOB, billing=VND))
    shown = await service.summary(by=by)
    assert sum(group["requests"] for group in shown["groups"]) == shown["requests"] == 2
    assert all(group[by] for group in shown["groups"])


async def test_a_viewer_sees_its_own_usage_whatever_it_asks_for(service: MeteringService) -> None:
    await service.post(attempt(), attempt(principal=BOB))
    for account in ("alice", "acme", "platform"):
        assert (await service.summary(ALICES, account=account))["requests"] == 1
    assert (await service.summary(ALICES))["account"] == "alice"
    assert (await service.summary(ALICES, account="bob"))["requests"] == 0


async def test_a_charge_is_explained(service: MeteringService) -> None:
    first = attempt(attempt=1, outcome="provider_error", served_model="gpt-99")
    second = attempt(attempt=2, request_id=first.request_id, billing=VND)
    await service.post(first, second)
    shown = (await service.get(f"/api/charges/{first.request_id}")).json()
    assert [one["state"] for one in shown["attempts"]] == ["suspended", "priced"]
    assert shown["attempts"][1]["entries"][0]["amount"] == "151.04375"
    assert (shown["cost_usd"], shown["billed"]) == ("0.00625", {"VND": "151.04375"})


async def test_a_correction_is_part_of_the_explanation(service: MeteringService) -> None:
    event = attempt()
    await service.post(event)
    await service.fetch(CORRECTION, new_id(), event.attempt_id)
    shown = (await service.get(f"/api/charges/{event.request_id}")).json()
    assert [entry["kind"] for entry in shown["attempts"][0]["entries"]] == ["charge", "correction"]
    assert shown["cost_usd"] == "0.00525"


CORRECTION = """
INSERT INTO entry (
    entry_id, made_at, corrects, attempt_id, request_id, occurred_at, priced_at, amount_nano, cost_nano_usd,
    dimension_id, terms_id, tariff_id, attempt_number, outcome, cache_hit, input_tokens, output_tokens, attempt
)
SELECT
    $1::uuid, uuid_extract_timestamp($1::uuid), entry_id, attempt_id, request_id, occurred_at, now(), -1000000,
    -1000000, dimension_id, terms_id, tariff_id, attempt_number, outcome, cache_hit, 0, 0, attempt
FROM entry WHERE entry_id = $2
"""


async def test_a_viewer_sees_only_its_own_charges(service: MeteringService) -> None:
    mine, other = attempt(principal=ALICE), attempt(principal=BOB)
    await service.post(mine, other)
    assert (await service.get(f"/api/charges/{mine.request_id}", ALICES)).status_code == 200
    assert (await service.get(f"/api/charges/{other.request_id}", ALICES)).status_code == 404


async def test_suspense_is_listed_in_pages(service: MeteringService) -> None:
    events = [attempt(served_model="gpt-99") for _ in range(3)]
    await service.post(*events)
    first = (await service.get("/api/suspense", limit="2")).json()
    second = (await service.get("/api/suspense", limit="2", cursor=first["next_cursor"])).json()
    listed = [item["attempt_id"] for item in (*first["items"], *second["items"])]
    assert listed == sorted(str(event.attempt_id) for event in events)
    assert (first["items"][0]["reason"], second["next_cursor"]) == ("unknown_model", None)


async def test_prices_are_listed_with_what_is_in_force(service: MeteringService) -> None:
    row = {"provider": "openai", "model": "gpt-4o", "per": 1_000, "rates": {"input": "0.001", "output": "0.002"}}
    async with service.api() as api:
        assert (await api.post("/api/prices", json=row)).status_code == 201
    shown = (await service.get("/api/prices", provider="openai", model="gpt-4o")).json()
    assert shown["items"][0]["rates"] == row["rates"]
    assert shown["in_force"]["standard"][0]["per_million_tokens"]["output"] == "2"


@pytest.mark.parametrize(
    ("path", "parameters", "named"),
    [
        ("/api/usage/summary", {"from": "yesterday", "by": "mood"}, ("from", "by")),
        ("/api/usage/summary", {"from": "2026-03-02", "to": "2026-03-01"}, ("from",)),
        ("/api/usage/summary", {"acount": "acme"}, ("acount",)),
        ("/api/suspense", {"cursor": "x", "limit": "0"}, ("cursor", "limit")),
        ("/api/prices", {"cursor": "-1"}, ("cursor",)),
    ],
)
async def test_every_problem_of_a_question_is_listed(
    service: MeteringService, path: str, parameters: dict[str, str], named: tuple[str, ...]
) -> None:
    answer = await service.get(path, ADMIN, **parameters)
    assert answer.status_code == 422
    problems = answer.json()["error"]["problems"]
    assert [problem.partition(":")[0] for problem in problems] == list(named)


@pytest.mark.parametrize(
    "changes",
    [
        {"rates": {"input": 2.5}},
        {"rates": {"inputs": "2.5"}},
        {"rates": {"input": "-1"}},
        {"rates": {"output": "99999999"}},
        {"per": 10},
        {"model": None},
        {"effective_to": "1960-01-01T00:00:00Z"},
        {"id": "mine"},
        {"surprise": 1},
    ],
)
async def test_a_price_that_makes_no_sense_is_refused(service: MeteringService, changes: dict[str, Any]) -> None:
    row = {"provider": "openai", "model": "gpt-99", "per": 1_000_000, "rates": {"input": "1"}}
    async with service.api() as api:
        answer = await api.post("/api/prices", json={**row, **changes})
    assert answer.status_code == 422
    assert answer.json()["error"]["problems"]
    assert await service.fetch("SELECT FROM price_override") == []


@pytest.mark.parametrize("path", ["/api/prices", "/api/suspense"])
async def test_prices_and_suspense_are_the_administrators(service: MeteringService, path: str) -> None:
    assert (await service.get(path, ALICES)).status_code == 403


async def test_nobody_is_answered_without_a_token(service: MeteringService) -> None:
    async with service.api() as api:
        assert (await api.get("/api/suspense", headers={"authorization": ""})).status_code == 401
