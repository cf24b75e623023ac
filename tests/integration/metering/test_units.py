"""Units without a rate wait beside their charge, and become entries of their own when their rate arrives."""

from typing import Any

import orjson
import pytest

from farebox.events import PricedAs, RequestCompleted
from farebox.invariants import look
from farebox.outbox import waiting
from farebox.postgres import session
from farebox.pricing import Usage
from metering.invariants import QUERIES
from metering.units import unit_id
from support.attempts import attempt
from support.metering_service import MeteringService

SEEING = Usage(input=500, output=500, tool_calls={"telepathy": 3})
PRICE: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "per": 1_000,
    "effective_from": "2020-01-01T00:00:00Z",
    "rates": {"input": "0.0025", "cache_read": "0.00125", "output": "0.01", "tool:telepathy": "20"},
}


async def priced(service: MeteringService) -> None:
    """The tool gets a price. It had none before, so that it is no raise."""
    async with service.api() as api:
        answer = await api.post("/api/prices", json={**PRICE, "model": "gpt-4o"})
    assert answer.status_code == 201, answer.text


async def sound(service: MeteringService) -> None:
    assert [each for each in await look(service.pool, QUERIES) if each.rows] == []


def seeing() -> RequestCompleted:
    return attempt(usage=SEEING)


async def test_what_has_a_price_is_charged_and_what_has_none_waits_beside_it(service: MeteringService) -> None:
    event = seeing()
    fresh = await service.post(event)
    assert ([*fresh.entries], [unit.unit for unit in fresh.units]) == ([event.attempt_id], ["tool:telepathy"])
    shown = (await service.get(f"/api/charges/{event.request_id}")).json()
    assert (shown["cost_usd"], shown["attempts"][0]["waiting"][0]["count"]) == ("0.00625", 3)
    [left] = (await service.get("/api/suspense")).json()["items"]
    assert (left["unit"], left["entry_id"]) == (
        "tool:telepathy",
        str(unit_id(event.attempt_id, "tool:telepathy")),
    )
    assert (await service.summary())["unpriced_attempts"] == 1
    await sound(service)


async def test_its_price_makes_it_an_entry_of_its_own_once(service: MeteringService) -> None:
    event = seeing()
    await service.post(event)
    await priced(service)
    assert (await service.posting.settle(), await service.posting.settle()) == (1, 0)
    shown = (await service.get(f"/api/charges/{event.request_id}")).json()
    assert [entry["amount"] for entry in shown["attempts"][0]["entries"]] == ["0.00625", "0.06"]
    whole = await service.summary()
    assert (whole["requests"], whole["cost_usd"], whole["unpriced_attempts"]) == (1, "0.06625", 0)
    await sound(service)


@pytest.mark.parametrize("is_priced", [False, True])
async def test_the_event_again_adds_nothing_whatever_has_a_price_by_then(
    service: MeteringService, is_priced: bool
) -> None:
    event = seeing()
    await service.post(event)
    if is_priced:
        await priced(service)
        await service.posting.settle()
    again = await service.post(event, event)
    assert (again.entries, again.suspended, again.units) == ([], [], [])
    assert await service.posting.settle() == 0
    await sound(service)


async def test_what_has_its_price_from_the_start_is_one_entry(service: MeteringService) -> None:
    await priced(service)
    fresh = await service.post(seeing())
    assert fresh.units == []
    assert (await service.summary())["cost_usd"] == "0.06625"


async def test_a_whole_attempt_that_gets_a_price_leaves_its_units_waiting(service: MeteringService) -> None:
    await service.post(attempt(requested_model="gpt-99", served_model="gpt-99", usage=SEEING))
    async with service.api() as api:
        rates = {"input": "0.0025", "output": "0.01"}
        await api.post("/api/prices", json={**PRICE, "model": "gpt-99", "rates": rates})
    await service.posting.settle()
    [left] = (await service.get("/api/suspense")).json()["items"]
    assert left["unit"] == "tool:telepathy"
    await sound(service)


async def test_a_unit_is_announced_when_it_waits_and_when_it_is_priced(service: MeteringService) -> None:
    event = seeing()
    await service.post(event)
    await priced(service)
    await service.posting.settle()
    async with session(service.pool) as connection:
        told = [orjson.loads(message.value or b"") for message in await waiting(connection, "usage.priced")]
    of_unit = [each for each in told if each.get("entry_id") == str(unit_id(event.attempt_id, "tool:telepathy"))]
    assert sorted(each["billed_nano"] or 0 for each in of_unit) == [0, 60_000_000]


async def test_models_that_answered_without_a_price_are_listed_until_they_have_one(service: MeteringService) -> None:
    told = PricedAs(model="gpt-4o", why="unknown_model")
    strange = [attempt(served_model="gpt-99", priced_as=told) for _ in range(3)]
    cheaper = attempt(served_model="gpt-4o-mini", priced_as=PricedAs(model="gpt-4o", why="cheaper_model"))
    await service.post(*strange, cheaper)
    await service.post(*strange)
    [listed] = (await service.get("/api/unknown-models")).json()["items"]
    assert (listed["provider"], listed["model"], listed["asked"]) == ("openai", "gpt-99", "gpt-4o")
    async with service.api() as api:
        await api.post("/api/prices", json={**PRICE, "model": "gpt-99"})
    await service.prices.refresh()
    assert (await service.get("/api/unknown-models")).json()["items"] == []


async def test_the_list_of_unknown_models_does_not_grow_without_end(service: MeteringService) -> None:
    told = PricedAs(model="gpt-4o", why="unknown_model")
    for batch in range(2):
        await service.post(*(attempt(served_model=f"gpt-99-{batch}-{n}", priced_as=told) for n in range(1_000)))
    [row] = await service.fetch("SELECT count(*) AS models FROM unknown_model")
    assert row["models"] == 1_000
