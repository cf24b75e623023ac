"""Books that are wrong are found: each sentence is broken by hand once, and holds before."""

import pytest

from farebox import topics
from farebox.invariants import look
from metering.invariants import QUERIES, entries_are_announced
from support.attempts import VND, attempt
from support.desk import Desk

BREAKING = {
    "entries_are_rolled_up": "UPDATE usage_hour SET billed_nano = billed_nano + 1",
    "days_are_their_hours": "DELETE FROM usage_day",
    "suspense_is_not_charged": "UPDATE suspense SET settled_at = now()",
    "entries_can_be_explained": "DELETE FROM tariff",
}


async def at_work(desk: Desk) -> None:
    """One attempt priced, in another currency, and one that waits for its price."""
    await desk.post(attempt(billing=VND), attempt(served_model="nobody-knows"))


async def test_sound_books_break_no_sentence(desk: Desk) -> None:
    await at_work(desk)
    found = await look(desk.pool, QUERIES)
    assert {each.name for each in found} == set(BREAKING)
    assert [each for each in found if each.rows] == []


@pytest.mark.parametrize("name", BREAKING)
async def test_wrong_books_are_found(desk: Desk, name: str) -> None:
    await at_work(desk)
    await desk.pool.execute(BREAKING[name])
    assert name in {each.name for each in await look(desk.pool, QUERIES) if each.rows}


async def test_an_entry_that_is_in_no_outbox_and_on_no_topic_is_found(desk: Desk, kafka: str) -> None:
    await topics.create(kafka, replication=1)
    await at_work(desk)
    assert not (await entries_are_announced(kafka, desk.pool)).rows
    await desk.pool.execute("DELETE FROM outbox")
    assert len((await entries_are_announced(kafka, desk.pool)).rows) == 1
