"""A clock that is off, a gateway's or a replica's own, loses no charge and doubles none."""

from datetime import UTC, datetime, timedelta

import pytest

from metering.app import metering
from support.attempts import attempt, id_made_at
from support.books import Books
from support.clock import JumpingClock
from support.eventually import eventually

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("off", [400 * DAY, 2 * HOUR, -100 * DAY, -20_000 * DAY])
async def test_an_attempt_of_a_gateway_whose_clock_is_off_is_charged_once_when_it_is_heard_of(
    books: Books, off: timedelta
) -> None:
    began = datetime.now(UTC)
    event = attempt(id_made_at(began + off))
    await books.send(event, attempt(), event)
    async with books.replica():
        await books.send(event)
        await books.handled(4)
        entries = await books.entries(2)
        told = await books.priced(2)
    assert {entry["entry_id"] for entry in entries} > {event.attempt_id}
    assert all(abs(entry["occurred_at"] - began) < HOUR for entry in entries)
    assert all(abs(one.occurred_at - began) < HOUR for one in told)
    assert await books.on(f"{books.names.requests}.dead") == []
    assert await books.value("SELECT sum(attempts) FROM usage_day") == 2


@pytest.mark.parametrize("off", [HOUR / 6, -2 * DAY])
async def test_an_attempt_is_dated_as_it_says_where_the_lead_time_or_retention_allows(
    books: Books, off: timedelta
) -> None:
    event = attempt(id_made_at(datetime.now(UTC) + off))
    await books.send(event)
    async with books.replica():
        [entry] = await books.entries(1)
    assert entry["occurred_at"] == event.started_at


async def test_what_waited_for_its_price_keeps_the_date_it_was_given(books: Books) -> None:
    began = datetime.now(UTC)
    price = {"provider": "openai", "model": "gpt-99", "rates": {"input": "2.50", "output": "10"}}
    await books.send(attempt(id_made_at(began - 1_000 * DAY), served_model="gpt-99"))
    async with books.replica() as replica, books.api(replica) as api:
        await books.handled(1)
        added = await api.post("/api/prices", json={**price, "effective_from": (began - DAY).isoformat()})
        assert added.status_code == 201
        [entry] = await books.entries(1)
    assert abs(entry["occurred_at"] - began) < HOUR


@pytest.mark.parametrize("off", [400 * DAY, -400 * DAY])
async def test_a_replica_whose_own_clock_is_off_goes_by_the_databases(books: Books, off: timedelta) -> None:
    clock = JumpingClock()
    clock.jump(off)
    event = attempt()
    async with metering(books.settings, books.names, clock) as replica:
        await eventually(lambda: replica.live() == [])
        await books.send(event)
        [entry] = await books.entries(1)
    assert (entry["occurred_at"], abs(entry["priced_at"] - event.started_at) < HOUR) == (event.started_at, True)
