"""Books that are wrong are found: each sentence is broken by hand once, and holds before."""

from datetime import timedelta
from uuid import UUID

import pytest

from farebox import topics
from farebox.ids import new_id
from farebox.invariants import look
from farebox.kafka import Message, Record, Rejected
from farebox.kafka.dead import dead_letter
from metering.corrections.operations import Wanted
from metering.corrections.rules import TrueAmount
from metering.invariants import QUERIES, attempts_are_booked, dead_letters_are_bad, entries_are_announced
from support.attempts import HALF_A_THOUSAND, VND, attempt, message_of
from support.books import Books
from support.metering_service import MeteringService

BREAKING = {
    "entries_are_rolled_up": "UPDATE usage_hour SET billed_nano = billed_nano + 1",
    "days_are_their_hours": "DELETE FROM usage_day",
    "suspense_is_not_charged": "UPDATE suspense SET settled_at = now()",
    "units_are_charged_once": "UPDATE suspended_unit SET settled_at = now()",
    "entries_can_be_explained": "DELETE FROM tariff",
    "corrections_are_entries": "INSERT INTO correction SELECT gen_random_uuid(), gen_random_uuid(), attempt_id, "
    "entry_id, stated, reason, made_at, answer FROM correction",
    "nothing_is_charged_below_zero": "ALTER TABLE entry DISABLE TRIGGER USER; UPDATE entry SET amount_nano = 0 WHERE "
    "corrects IS NULL",
}


async def at_work(service: MeteringService) -> None:
    """One attempt priced in another currency and corrected, one priced but for a tool, one that waits for its price."""
    usage = HALF_A_THOUSAND.model_copy(update={"tool_calls": {"telepathy": 1}})
    event = attempt(billing=VND)
    await service.post(event, attempt(usage=usage), attempt(served_model="nobody-knows"))
    truth = TrueAmount("0.001", "USD")
    await service.corrections.make(Wanted(new_id(), event.attempt_id, truth, "the invoice", dry_run=False))


async def test_sound_books_break_no_sentence(service: MeteringService) -> None:
    await at_work(service)
    found = await look(service.pool, QUERIES)
    assert {each.name for each in found} == set(BREAKING)
    assert [each for each in found if each.rows] == []


@pytest.mark.parametrize("name", BREAKING)
async def test_wrong_books_are_found(service: MeteringService, name: str) -> None:
    await at_work(service)
    await service.pool.execute(BREAKING[name])
    assert name in {each.name for each in await look(service.pool, QUERIES) if each.rows}


async def test_an_entry_that_is_in_no_outbox_and_on_no_topic_is_found(service: MeteringService, kafka: str) -> None:
    await topics.create(kafka, replication=1)
    await at_work(service)
    assert not (await entries_are_announced(kafka, service.pool)).rows
    await service.pool.execute("DELETE FROM outbox")
    assert len((await entries_are_announced(kafka, service.pool)).rows) == 3


async def lost(books: Books) -> tuple[set[UUID], set[UUID]]:
    """Attempts that the audit misses: of those announced, and of the dead letters."""
    names, retention = books.names, timedelta(days=90)
    announced = await attempts_are_booked(
        books.settings.kafka_bootstrap, books.pool, retention, names.requests, lag=timedelta(0)
    )
    dead = await dead_letters_are_bad(books.settings.kafka_bootstrap, books.pool, retention, names.requests)
    return {row["attempt_id"] for row in announced.rows}, {row["attempt_id"] for row in dead.rows}


async def test_attempts_that_were_never_booked_are_found_and_poison_is_not(books: Books) -> None:
    good, waiting = attempt(), attempt(served_model="nobody-knows")
    await books.send(good, waiting)
    await books.publish(Message(books.names.requests, b"k", b"poison"))
    assert await lost(books) == ({good.attempt_id, waiting.attempt_id}, set())
    async with books.replica():
        await books.handled(3)
    assert await lost(books) == (set(), set())


async def test_good_dead_letters_are_found_until_they_are_booked(books: Books) -> None:
    one, other = attempt(), attempt(session="a\0b")
    for each in (one, other):
        sent = message_of(each, books.names.requests)
        buried = Record(sent.topic, 0, 0, 0, sent.key, sent.value, sent.headers)
        await books.publish(dead_letter(Rejected(buried, "handler_error", "read-only")))
    assert await lost(books) == (set(), {one.attempt_id})
    await books.send(one)
    async with books.replica():
        await books.entries(1)
    assert await lost(books) == (set(), set())
