"""What `price.catalogue` keeps when a stalled producer delivers late, and when a raise takes effect."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from farebox.events import CatalogueAsOf, PriceListed, decode
from farebox.kafka import Message, Record
from farebox.pricing import Catalogue, Rates
from gateway.policy.prices import Prices as GatewayPrices
from metering.app import Metering
from support.books import Books
from support.eventually import eventually
from support.metering_service import LEAD, MeteringService

PRICE = {"provider": "openai", "model": "gpt-99", "rates": {"input": "9", "output": "9"}}
CHEAPER = {**PRICE, "rates": {"input": "5", "output": "5"}}
DEARER = {**PRICE, "rates": {"input": "9.01", "output": "9"}}
KEY = b"openai/gpt-99"


async def add(api: httpx.AsyncClient, price: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post("/api/prices", json=price)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def listed(books: Books, count: int) -> list[Record]:
    """The records of the model, once there are this many."""

    async def found() -> list[Record]:
        records = [record for record in await books.on(books.names.prices) if record.key == KEY]
        assert len(records) >= count
        return records

    return await eventually(found, within_s=40)


def revision(record: Record) -> int | None:
    event = decode(headers=record.headers, value=record.value).event
    assert isinstance(event, PriceListed)
    return event.revision


async def what_a_newcomer_reads(record: Record) -> str:
    """The price in force at a gateway that finds one record, as a compacted topic has it."""
    prices = GatewayPrices(Catalogue())
    await prices.learn([record])
    rates = prices.rates("openai", "gpt-99", datetime.now(UTC), None)
    assert isinstance(rates, Rates)
    return rates.version


async def two_prices(books: Books, replica: Metering) -> tuple[Record, str]:
    """The record of the first of two prices, and the id of the second."""
    async with books.api(replica) as api:
        await add(api, PRICE)
        second = await add(api, CHEAPER)
    first, newest = await listed(books, 2)
    assert (revision(first) or 0) < (revision(newest) or 0)
    return first, second["id"]


def again(record: Record) -> Message:
    return Message(record.topic, record.key, record.value, record.raw_headers)


async def test_an_old_price_that_arrives_last_is_followed_by_the_newest(books: Books) -> None:
    async with books.replica() as replica:
        first, second = await two_prices(books, replica)
        await books.publish(again(first))
        records = await listed(books, 4)
    assert [revision(record) == revision(first) for record in records] == [True, False, True, False]
    assert await what_a_newcomer_reads(records[-1]) == second


async def test_an_old_price_that_arrived_while_nobody_looked_is_followed_by_the_newest(books: Books) -> None:
    async with books.replica() as replica:
        first, second = await two_prices(books, replica)
        await books.relayed()
    await books.publish(again(first))
    async with books.replica() as replica:
        await eventually(lambda: not replica.listed.unready())
        for _ in range(2):  # what is behind at the first look may be on its way
            await replica.listed.look()
        records = await listed(books, 4)
    assert await what_a_newcomer_reads(records[-1]) == second


async def test_a_topic_that_is_as_its_rows_is_left_alone(books: Books) -> None:
    async with books.replica() as replica:
        await two_prices(books, replica)
        await eventually(lambda: replica.listed._last.order(KEY.decode()) == (2,))
        assert [await replica.listed.look() for _ in range(3)] == [0, 0, 0]


async def test_gateways_are_told_how_old_their_prices_are_once_for_all_replicas(books: Books) -> None:
    async def told() -> CatalogueAsOf:
        [record] = [record for record in await books.on(books.names.prices) if record.key == b"as-of"]
        event = decode(headers=record.headers, value=record.value).event
        assert isinstance(event, CatalogueAsOf)
        return event

    async with books.replica() as one, books.replica() as other:
        as_of = await eventually(told)
        assert [await replica.prices.promise() for replica in (one, other)] == [False, False]
        await books.relayed()
        assert await told() == as_of
    assert (as_of.lead_s, as_of.revision) == (900, 1)
    assert abs(as_of.as_of - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_raise_takes_effect_a_lead_time_after_it_is_made(service: MeteringService) -> None:
    before = datetime.now(UTC)
    async with service.api() as api:
        await add(api, PRICE)
        raised = await add(api, DEARER)
    assert before + LEAD <= datetime.fromisoformat(raised["effective_from"]) <= datetime.now(UTC) + LEAD
    shown = (await service.get("/api/prices", provider="openai", model="gpt-99")).json()
    assert shown["in_force"]["standard"][0]["per_million_tokens"]["input"] == "9"


async def test_a_cheaper_price_takes_effect_at_once(service: MeteringService) -> None:
    async with service.api() as api:
        await add(api, PRICE)
        await add(api, CHEAPER)
    shown = (await service.get("/api/prices", provider="openai", model="gpt-99")).json()
    assert shown["in_force"]["standard"][0]["per_million_tokens"]["input"] == "5"


async def test_a_raise_that_is_to_take_effect_sooner_is_refused_with_the_earliest_instant(
    service: MeteringService,
) -> None:
    asked_at = datetime.now(UTC)
    sooner = (asked_at + LEAD / 2).isoformat()
    async with service.api() as api:
        await add(api, PRICE)
        refused = await api.post("/api/prices", json={**DEARER, "effective_from": sooner})
    assert refused.status_code == 422
    [problem] = refused.json()["error"]["problems"]
    earliest = datetime.fromisoformat(problem.partition("can take effect from ")[2].partition(" on;")[0])
    assert asked_at + LEAD <= earliest <= datetime.now(UTC) + LEAD


async def test_a_raise_waits_until_the_last_promise_ends_also_when_the_clock_goes_back(
    service: MeteringService,
) -> None:
    async with service.api() as api:
        await add(api, PRICE)
        await service.prices.promise()
        ahead = await service.pool.fetchval(
            "UPDATE price_promise SET as_of = as_of + interval '1 day', lasts_until = lasts_until + interval '1 day' "
            "RETURNING lasts_until"
        )
        assert await service.prices.promise(), "the clock is behind what was told"
        raised = await add(api, DEARER)
    assert datetime.fromisoformat(raised["effective_from"]) == ahead
