"""A call without a price waits in suspense, and is settled when its price arrives."""

import asyncio
from typing import Any

from farebox.events import PriceListed, RequestCompleted, SuspenseReason, decode
from metering.app import Metering
from support.attempts import ALICE, attempt
from support.books import Books
from support.eventually import eventually

PRICE = {"provider": "openai", "model": "gpt-99", "per": 1_000_000, "rates": {"input": "2.50", "output": "10"}}


def unpriced(**changes: Any) -> RequestCompleted:
    return attempt(requested_model="gpt-99", served_model="gpt-99", **changes)


async def add_price(books: Books, replica: Metering, **changes: Any) -> None:
    async with books.api(replica) as api:
        answer = await api.post("/api/prices", json={**PRICE, **changes})
    assert answer.status_code == 201, answer.text


async def open_suspense(books: Books, count: int) -> None:
    async def holds() -> bool:
        waiting: int = await books.value("SELECT count(*) FROM suspense WHERE settled_at IS NULL")
        return waiting == count

    await eventually(holds, within_s=30)


async def test_an_unknown_model_waits_and_is_announced_without_amounts(books: Books) -> None:
    await books.send(unpriced(), attempt())
    async with books.replica():
        await books.entries(1)
        told = {event.model: event for event in await books.priced(2)}
    assert told["gpt-99"].suspense is SuspenseReason.UNKNOWN_MODEL
    assert told["gpt-99"].billed_nano is None
    assert told["gpt-4o"].suspense is None


async def test_a_price_settles_what_waited_for_it_at_the_attempts_own_instant(books: Books) -> None:
    event = unpriced()
    await books.send(event)
    async with books.replica() as replica:
        await open_suspense(books, 1)
        await add_price(books, replica)
        [entry] = await books.entries(1)
        waiting, settled = sorted(await books.priced(2), key=lambda told: told.suspense is None)
    assert (entry["entry_id"], entry["cost_nano_usd"], entry["occurred_at"]) == (
        event.attempt_id,
        6_250_000,
        event.started_at,
    )
    assert (settled.entry_id, settled.billed_nano) == (waiting.entry_id, 6_250_000)
    assert await books.value("SELECT sum(attempts) FROM usage_day") == 1
    await open_suspense(books, 0)


async def test_a_price_that_does_not_cover_the_attempt_leaves_it_waiting_and_says_why(books: Books) -> None:
    await books.send(unpriced())
    async with books.replica() as replica:
        await open_suspense(books, 1)
        await add_price(books, replica, rates={"input": "2.50"})

        async def says_why() -> bool:
            reason: str = await books.value("SELECT reason FROM suspense")
            return reason == "no_rate_for_unit"

        await eventually(says_why)
        await add_price(books, replica, effective_from="2020-01-01T00:00:00Z")
        await books.entries(1)


async def test_settlement_happens_once_with_two_replicas_and_the_events_redelivered(books: Books) -> None:
    events = [unpriced(principal=ALICE.model_copy(update={"user": f"user-{n % 7}"})) for n in range(300)]
    await books.send(*events)
    async with books.replica() as one, books.replica():
        await open_suspense(books, 300)
        await asyncio.gather(add_price(books, one), *(books.send(*events[n::5]) for n in range(5)))
        await books.handled(600)
        await books.entries(300)
        told = await books.priced(600)
    assert len(told) == 600
    assert len({event.entry_id for event in told if event.suspense is None}) == 300
    assert await books.value("SELECT sum(attempts) FROM usage_day") == 300
    await open_suspense(books, 0)


async def test_a_settled_attempt_that_comes_again_has_no_effect(books: Books) -> None:
    event = unpriced()
    await books.send(event)
    async with books.replica() as replica:
        await open_suspense(books, 1)
        await add_price(books, replica)
        await books.entries(1)
        await books.send(event)
        await books.handled(2)
        assert len(await books.priced(2)) == 2
    await books.entries(1)


async def test_every_replica_prices_with_what_any_replica_was_told(books: Books) -> None:
    async with books.replica() as one, books.replica() as other:
        await add_price(books, one)
        await eventually(lambda: other.prices.revision == one.prices.revision)
        await books.send(unpriced())
        await books.entries(1)


async def test_a_price_is_announced_with_all_rows_of_its_model(books: Books) -> None:
    async with books.replica() as replica:
        await add_price(books, replica)
        await add_price(books, replica, rates={"input": "1", "output": "2"}, model="GPT-99")

        async def newest() -> PriceListed:
            records = [record for record in await books.on(books.names.prices) if record.key != b"as-of"]
            assert [record.key for record in records] == [b"openai/gpt-99"] * 2
            event = decode(headers=records[-1].headers, value=records[-1].value).event
            assert isinstance(event, PriceListed)
            return event

        listed = await eventually(newest)
    first, second = listed.rows
    assert first.effective_from.year == 1970
    assert second.effective_from.year > 1970
