"""`POST /api/corrections`: a wrong charge is put right by a new entry, in ledger, rollups and outbox, or not at all."""

import asyncio
import uuid
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from farebox import outbox
from farebox.auth import Caller, Role
from farebox.events import RequestCompleted, UsagePriced, decode
from farebox.ids import new_id
from farebox.invariants import look
from farebox.postgres import session
from farebox.pricing import Usage
from metering.invariants import QUERIES
from support.attempts import KRW, attempt
from support.books import Books
from support.metering_service import ADMIN, MeteringService

VIEWER = Caller("gateway", Role.VIEWER, "alice")
PER_WON: dict[str, Any] = {"amount": "2", "currency": "KRW"}


async def answer(
    service: MeteringService, event: RequestCompleted, who: Caller = ADMIN, **fields: Any
) -> httpx.Response:
    body = {"correction_id": str(uuid.uuid4()), "attempt_id": str(event.attempt_id), "reason": "the invoice says so"}
    async with service.api(who) as api:
        return await api.post("/api/corrections", json=body | fields)


async def corrected(service: MeteringService, event: RequestCompleted, **fields: Any) -> dict[str, Any]:
    answered = await answer(service, event, **fields)
    assert answered.status_code == 201, answered.text
    return dict(answered.json())


async def ledger(service: MeteringService) -> list[asyncpg.Record]:
    return await service.fetch("SELECT * FROM ledger ORDER BY entry_id")


async def told(service: MeteringService) -> list[UsagePriced]:
    async with session(service.pool) as connection:
        messages = await outbox.waiting(connection, "usage.priced")
    events = [decode(headers={n: t or b"" for n, t in m.headers}, value=m.value).event for m in messages]
    return [event for event in events if isinstance(event, UsagePriced)]


async def broken(service: MeteringService) -> set[str]:
    return {each.name for each in await look(service.pool, QUERIES) if each.rows}


async def explained(service: MeteringService, event: RequestCompleted) -> dict[str, Any]:
    (one,) = (await service.get(f"/api/charges/{event.request_id}")).json()["attempts"]
    return dict(one)


async def test_the_true_usage_is_a_new_entry_that_names_the_charge(service: MeteringService) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    made = await corrected(service, event, usage={"input": 100, "output": 50})
    charge, correction = await ledger(service)
    assert (charge["amount_nano"], correction["kind"], correction["corrects"]) == (
        8_125_000_000,
        "correction",
        event.attempt_id,
    )
    assert (made["before"]["billed"], made["after"]["billed"]) == ("8.125", "0.975")
    assert (correction["amount_nano"], correction["input_tokens"]) == (-7_150_000_000, -400)
    assert await broken(service) == set()


async def test_the_rollups_are_the_sums_of_charges_and_corrections_and_count_no_attempt_twice(
    service: MeteringService,
) -> None:
    event = attempt(billing=KRW)
    await service.post(event, attempt(billing=KRW))
    await corrected(service, event, usage={"input": 100, "output": 50})
    whole = await service.summary(account="acme")
    assert (whole["attempts"], whole["requests"], whole["tokens"]) == (2, 2, 1_150)
    assert (whole["billed"], whole["success_rate"]) == ({"KRW": "9.1"}, "100.00")


async def test_a_correction_is_told_with_its_differences(service: MeteringService) -> None:
    event = attempt()
    await service.post(event)
    made = await corrected(service, event, usage={"input": 100, "output": 50})
    charge, correction = await told(service)
    assert (charge.kind, correction.kind, correction.corrects) == ("charge", "correction", charge.entry_id)
    assert (correction.billed_nano, correction.tokens, correction.requests) == (-5_500_000, -850, 0)
    assert orjson.loads(correction.model_dump_json()) == made["events"][0]


async def test_explain_my_charge_shows_what_was_corrected_and_why(service: MeteringService) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    await corrected(service, event, **PER_WON)
    one = await explained(service, event)
    assert (one["billed"], one["charge"]["billed"]) == ("2", "8.125")
    assert (one["entries"][1]["amount"], one["entries"][1]["reason"]) == ("-6.125", "the invoice says so")
    assert one["entries"][1]["stated"] == {"amount": "2", "currency": "KRW"}


async def test_a_dry_run_answers_the_entries_and_writes_nothing(service: MeteringService) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    answered = await answer(service, event, **PER_WON, dry_run=True, correction_id=None)
    assert answered.status_code == 200
    (entry,) = answered.json()["entries"]
    assert (entry["amount"], entry["corrects"]) == ("-6.125", str(event.attempt_id))
    assert len(await ledger(service)) == len(await told(service)) == 1
    assert await service.fetch("SELECT FROM correction") == []


async def test_a_correction_that_is_asked_for_again_is_answered_as_it_was(service: MeteringService) -> None:
    event, id_ = attempt(billing=KRW), str(uuid.uuid4())
    await service.post(event)
    first = await corrected(service, event, **PER_WON, correction_id=id_)
    await corrected(service, event, amount="3", currency="KRW")
    again = await asyncio.gather(*(answer(service, event, **PER_WON, correction_id=id_) for _ in range(3)))
    assert [(each.status_code, each.json()) for each in again] == [(200, first)] * 3
    assert [row["amount_nano"] for row in await ledger(service)] == [8_125_000_000, -6_125_000_000, 1_000_000_000]


@pytest.mark.parametrize(
    "other", [{"amount": "3"}, {"reason": "another"}, {"amount": None, "currency": None, "usage": {"input": 1}}]
)
async def test_an_id_that_was_used_for_another_correction_is_a_conflict(
    service: MeteringService, other: dict[str, Any]
) -> None:
    event, id_ = attempt(billing=KRW), str(uuid.uuid4())
    await service.post(event)
    await corrected(service, event, **PER_WON, correction_id=id_)
    answered = await answer(service, event, **PER_WON | {"correction_id": id_} | other)
    assert (answered.status_code, answered.json()["error"]["code"]) == (409, "other_correction")
    assert "correction_id" in answered.json()["error"]["message"]
    assert len(await ledger(service)) == 2


async def test_corrections_of_one_attempt_at_once_take_turns(service: MeteringService) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    await asyncio.gather(*(answer(service, event, amount=str(won), currency="KRW") for won in range(6)))
    rows = await ledger(service)
    assert len({row["corrects"] for row in rows}) == len(rows) == 7
    assert sum(row["amount_nano"] for row in rows) in {won * 10**9 for won in range(6)}
    assert await broken(service) == set()


async def test_a_correction_puts_a_correction_right(service: MeteringService) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    first = await corrected(service, event, amount="0", currency="KRW")
    second = await corrected(service, event, usage={"input": 500, "output": 500})
    assert second["entries"][0]["corrects"] == first["entries"][0]["entry_id"]
    assert (await explained(service, event))["billed"] == "8.125"
    assert await broken(service) == set()


async def test_what_waits_for_its_price_is_charged_by_a_correction(service: MeteringService) -> None:
    event = attempt(served_model="nobody-knows", billing=KRW)
    await service.post(event)
    made = await corrected(service, event, amount="0.01", currency="USD")
    assert [(each["kind"], each["amount"]) for each in made["entries"]] == [("charge", "0"), ("correction", "13")]
    assert [(each.kind, each.billed_nano) for each in await told(service)] == [
        ("charge", None),
        ("charge", 0),
        ("correction", 13_000_000_000),
    ]
    assert (await service.summary(account="acme"))["attempts"] == 1
    assert (await explained(service, event))["billed"] == "13"
    assert await broken(service) == set()


async def test_what_a_correction_charged_is_not_charged_again_by_its_price_or_a_redelivery(
    service: MeteringService,
) -> None:
    event = attempt(served_model="nobody-knows")
    await service.post(event)
    await corrected(service, event, amount="0.01", currency="USD")
    rates = {"provider": "openai", "model": "nobody-knows", "rates": {"input": "1", "output": "1"}}
    async with service.api() as api:
        assert (await api.post("/api/prices", json=rates)).status_code == 201
    assert await service.posting.settle() == 0
    await service.post(event)
    assert sum(row["amount_nano"] for row in await ledger(service)) == 10_000_000


async def test_settling_and_correcting_at_once_charge_the_truth(service: MeteringService) -> None:
    event = attempt(served_model="nobody-knows")
    await service.post(event)
    rates = {"provider": "openai", "model": "nobody-knows", "rates": {"input": "1", "output": "1"}}
    async with service.api() as api:
        await api.post("/api/prices", json=rates)
    await asyncio.gather(service.posting.settle(), corrected(service, event, amount="0.01", currency="USD"))
    assert sum(row["amount_nano"] for row in await ledger(service)) == 10_000_000
    assert await broken(service) == set()


async def test_an_attempt_that_is_not_in_the_books_cannot_be_corrected(service: MeteringService) -> None:
    for id_ in (new_id(), uuid.uuid4()):
        answered = await answer(service, attempt(), **PER_WON, attempt_id=str(id_))
        assert (answered.status_code, answered.json()["error"]["code"]) == (404, "unknown_attempt")
        assert "attempt_id" in answered.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "usage"),
        ({"usage": {"input": 1}, **PER_WON}, "usage"),
        ({"amount": "1"}, "currency"),
        ({"amount": 1, "currency": "KRW"}, "amount"),
        ({"amount": "-1", "currency": "KRW"}, "amount"),
        ({"amount": "1", "currency": "VND"}, "currency"),
        ({"usage": {"inputs": 1}}, "usage.inputs"),
        ({**PER_WON, "reason": ""}, "reason"),
        ({**PER_WON, "reason": "a\0b"}, "reason"),
        ({**PER_WON, "correction_id": None}, "correction_id"),
        ({**PER_WON, "correction_id": "mine"}, "correction_id"),
        ({**PER_WON, "dry_run": "no"}, "dry_run"),
        ({**PER_WON, "amonut": "1"}, "amonut"),
    ],
)
async def test_a_correction_with_a_mistake_is_refused_by_its_field(
    service: MeteringService, fields: dict[str, Any], named: str
) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    answered = await answer(service, event, **fields)
    assert answered.status_code == 422, answered.text
    assert [problem.partition(":")[0] for problem in answered.json()["error"]["problems"]] == [named]
    assert len(await ledger(service)) == len(await told(service)) == 1


async def test_only_administrators_correct(service: MeteringService) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    assert (await answer(service, event, VIEWER, **PER_WON)).status_code == 403
    assert len(await ledger(service)) == 1


async def test_corrections_cannot_be_changed(service: MeteringService) -> None:
    event = attempt(billing=KRW)
    await service.post(event)
    await corrected(service, event, **PER_WON)
    for statement in ("UPDATE correction SET reason = ''", "DELETE FROM correction", "TRUNCATE correction"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await service.fetch(statement)


async def test_a_correction_reaches_usage_priced_once_under_its_entrys_id(books: Books) -> None:
    event = attempt()
    await books.send(event)
    body = {"correction_id": str(uuid.uuid4()), "attempt_id": str(event.attempt_id), "reason": "true", "usage": {}}
    async with books.replica() as replica:
        await books.entries(1)
        async with books.api(replica) as api:
            for status in (201, 200):
                assert (await api.post("/api/corrections", json=body)).status_code == status
        charge, correction = await books.priced(2)
    assert (charge.entry_id, correction.corrects) == (event.attempt_id, event.attempt_id)
    assert (charge.billed_nano, correction.billed_nano) == (6_250_000, -6_250_000)


RATES: dict[str, Any] = {"input": "2.5", "cache_read": "1.25", "output": "10", "tool:telepathy": "20000"}


async def listed(service: MeteringService) -> None:
    """The tool that nobody knew gets a price, as of the beginning."""
    price = {"provider": "openai", "model": "gpt-4o", "rates": RATES, "effective_from": "2020-01-01T00:00:00Z"}
    async with service.api() as api:
        answered = await api.post("/api/prices", json=price)
    assert answered.status_code == 201, answered.text


@pytest.mark.parametrize("settles_first", [False, True])
async def test_a_unit_that_waits_beside_its_charge_is_in_the_truth_and_not_charged_again(
    service: MeteringService, settles_first: bool
) -> None:
    event = attempt(usage=Usage(input=500, output=500, tool_calls={"telepathy": 3}))
    await service.post(event)
    if settles_first:
        await listed(service)
        assert await service.posting.settle() == 1
    made = await corrected(service, event, amount="0.05", currency="USD")
    assert len(made["entries"]) == (1 if settles_first else 2)
    if not settles_first:
        await listed(service)
        assert await service.posting.settle() == 0
    assert (await service.summary())["cost_usd"] == (await explained(service, event))["billed"] == "0.05"
    assert len(await told(service)) == len(await ledger(service)) + 1
    assert await broken(service) == set()


async def test_a_true_usage_with_a_unit_that_has_no_rate_is_refused(service: MeteringService) -> None:
    event = attempt()
    await service.post(event)
    answered = await answer(service, event, usage={"input": 500, "tool_calls": {"telepathy": 3}})
    assert (answered.status_code, "tool:telepathy" in answered.text) == (422, True)
    assert len(await ledger(service)) == 1
