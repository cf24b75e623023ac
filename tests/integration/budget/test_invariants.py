"""Books that are wrong are found: each sentence is broken by hand once, and holds before."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from budget.invariants import dead_letters_are_bad, entries_are_posted, postings_are_the_ledger
from budget.store import QUERIES
from farebox import topics
from farebox.events import Envelope, UsagePriced
from farebox.ids import new_id
from farebox.invariants import look
from farebox.kafka import Message, Producer, Rejected
from farebox.kafka.dead import dead_letter
from farebox_local.kafka import Kafka
from support.budget_service import BudgetService, announcing, held, open_budget_service, record, won
from support.records import publish_old
from support.topic import create_topics

COST = 6_000_000  # 7.80 won
BREAKING = {
    "escrow_is_held": "UPDATE budget_window SET escrowed = escrowed + 1",
    "within_limit": "ALTER TABLE budget_window DROP CONSTRAINT within_limit; UPDATE budget_window SET posted = 10^12",
    "dead_epochs_are_accounted_for": "UPDATE gateway SET epoch = epoch + 1",
    "marks_are_noted": "DELETE FROM crossing",
    "corrected_is_certain": "INSERT INTO corrected SELECT attempt_id, now() FROM uncertain",
    "marks_are_resolved": "UPDATE budget_window SET posted = posted - 10 * 10^9",
}


async def at_work(service: BudgetService) -> None:
    """Some spending, a crossed threshold, a share in hand, one in suspense, and something uncertain."""
    marks = [{"severity": "warning", "percent": "12.5"}, {"severity": "a", "amount": "3"}]
    key = await service.ready("20", thresholds=marks)
    await service.opened(key, COST)
    await service.start(last_epoch=0)
    share = await service.opened(key, COST, epoch=2)
    await service.post(service.priced(key, won("3"), held(share, settled=won("4"), uncertain=won("1"), epoch=2)))


async def test_sound_books_break_no_sentence(service: BudgetService) -> None:
    await at_work(service)
    found = await look(service.pool, QUERIES)
    assert {each.name for each in found} == set(BREAKING)
    assert [each for each in found if each.rows] == []
    assert all(each.sentence.endswith(".") for each in found)


@pytest.mark.parametrize("name", BREAKING)
async def test_wrong_books_are_found(service: BudgetService, name: str) -> None:
    await at_work(service)
    await service.pool.execute(BREAKING[name])
    assert name in await service.broken()


async def test_a_mark_that_is_reached_while_its_last_occurrence_is_over_is_found(service: BudgetService) -> None:
    await at_work(service)
    await service.pool.execute("UPDATE crossing SET resolved_at = crossed_at")
    assert "marks_are_noted" in await service.broken()


async def test_a_mark_that_is_posted_and_noted_only_as_reached_by_suspense_is_found(service: BudgetService) -> None:
    await at_work(service)
    await service.pool.execute("UPDATE crossing SET provisional = true")
    assert "marks_are_noted" in await service.broken()


async def announced(service: BudgetService, kafka: str) -> None:
    """Two entries posted; on the topic, one of them twice, and one that was not posted yet."""
    await topics.create(kafka, replication=1)
    await service.org()
    await service.budget("20")
    await service.pool.execute("UPDATE budget SET counts_from = '2020-01-01'")
    key = await service.key()
    first, second, late = (service.priced(key, won(amount)) for amount in ("1", "2", "3"))
    await service.post(first, second)
    envelopes = [Envelope(new_id(), "farebox/metering", e.priced_at, "k", e) for e in (first, second, second, late)]
    async with Producer(kafka, client_id="test") as producer:
        await producer.send([Message.carrying(each, topic="usage.priced", key="k") for each in envelopes], 30)


async def test_postings_are_the_sum_of_what_the_ledger_announced(service: BudgetService, kafka: str) -> None:
    await announced(service, kafka)
    assert not (await postings_are_the_ledger(kafka, service.pool)).rows


@pytest.mark.parametrize("change", [-1, 1])
async def test_a_posting_that_is_a_nano_off_the_ledger_is_found(
    service: BudgetService, kafka: str, change: int
) -> None:
    await announced(service, kafka)
    await service.pool.execute("UPDATE budget_window SET posted = posted + $1::int", change)
    (row,) = (await postings_are_the_ledger(kafka, service.pool)).rows
    assert (row["posted"] - row["ledger"], row["ledger_of_before"]) == (change, 0)


async def test_what_was_spent_while_its_budget_was_made_may_be_in_it_or_not(service: BudgetService, kafka: str) -> None:
    await announced(service, kafka)
    await service.pool.execute("UPDATE budget SET counts_from = $1", service.clock.now())
    await service.pool.execute("UPDATE budget_window SET posted = 0")
    assert not (await postings_are_the_ledger(kafka, service.pool)).rows


async def test_what_was_spent_before_there_was_the_budget_is_not_to_be_in_it(
    service: BudgetService, kafka: str
) -> None:
    await announced(service, kafka)
    await service.pool.execute("UPDATE budget SET counts_from = '2100-01-01'")
    await service.pool.execute("UPDATE budget_window SET posted = 0")
    assert not (await postings_are_the_ledger(kafka, service.pool)).rows


async def audited(dsn: str, kafka: str) -> tuple[int | None, str]:
    """How the command ends, run as an operator runs it, and what it says."""
    given = {"postgres_dsn": dsn, "kafka_bootstrap": kafka, "service_secret": "s" * 32, "port": "1", "ops_port": "2"}
    env = os.environ | {f"FAREBOX_{name.upper()}": value for name, value in given.items()}
    command = (sys.executable, "-m", "budget.invariants")
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture
def own_kafka(server_folder: Path) -> Iterator[str]:
    """A broker on which nobody else announces anything."""
    broker = Kafka(server_folder / f"budget-audited-{new_id().hex}")
    broker.start()
    yield broker.bootstrap
    broker.stop()


async def test_the_command_names_the_rows_and_ends_with_one(database: Callable[[str], str], own_kafka: str) -> None:
    dsn = database("budget")
    async with open_budget_service(dsn) as service:
        await announced(service, own_kafka)
        assert (await audited(dsn, own_kafka))[0] == 0
        await service.pool.execute("UPDATE budget_window SET posted = posted + 1")
        status, said = await audited(dsn, own_kafka)
        assert status == 1
        assert "BROKEN  postings_are_the_ledger" in said
        assert "posted=3000000001, ledger=3000000000" in said


async def test_the_command_names_what_was_never_posted(database: Callable[[str], str], own_kafka: str) -> None:
    dsn = database("budget")
    await create_topics(own_kafka, dict.fromkeys((name for each in topics.ALL for name in (each.name, each.dead)), 1))
    async with open_budget_service(dsn) as service:
        await service.org()
        key = await service.key()
        lost, dead = service.priced(key, won("1")), service.priced(key, won("1"))
        await publish_old(own_kafka, announcing("usage.priced", lost), buried(dead))
        status, said = await audited(dsn, own_kafka)
    assert status == 1
    assert "BROKEN  entries_are_posted" in said
    assert f"entry_id={lost.entry_id}, billed_nano=1000000000, currency=KRW" in said
    assert "BROKEN  dead_letters_are_bad" in said
    assert f"entry_id={dead.entry_id}" in said
    assert "reason=handler_error" in said


def buried(entry: UsagePriced) -> Message:
    return dead_letter(Rejected(record(entry), "handler_error", "read-only"))


async def test_an_entry_counts_as_lost_only_after_a_while(service: BudgetService, kafka: str, own_topic: str) -> None:
    await service.org()
    entry = service.priced(await service.key(), won("1"))
    async with Producer(kafka, client_id="test") as producer:
        await producer.send([announcing(own_topic, entry)], 30)
    assert not (await entries_are_posted(kafka, service.pool, own_topic)).rows
    (row,) = (await entries_are_posted(kafka, service.pool, own_topic, lag=timedelta(0))).rows
    assert row["entry_id"] == entry.entry_id
    await service.post(entry)
    assert not (await entries_are_posted(kafka, service.pool, own_topic, lag=timedelta(0))).rows


async def test_a_dead_letter_that_is_bad_or_was_posted_since_is_no_loss(
    service: BudgetService, kafka: str, own_topic: str
) -> None:
    await service.org()
    entry = service.priced(await service.key(), won("1"))
    good, poison = record(entry), record(entry)._replace(value=b"{")
    letters = [replace(dead_letter(Rejected(each, "r", "")), topic=f"{own_topic}.dead") for each in (good, poison)]
    async with Producer(kafka, client_id="test") as producer:
        await producer.send(letters, 30)
    assert [row["entry_id"] for row in (await dead_letters_are_bad(kafka, service.pool, own_topic)).rows] == [
        entry.entry_id
    ]
    await service.post(entry)
    assert not (await dead_letters_are_bad(kafka, service.pool, own_topic)).rows


@pytest.fixture
async def own_topic(kafka: str, topic: Callable[..., Awaitable[str]]) -> str:
    """A topic like usage.priced, with its dead letters."""
    name = await topic("usage.priced")
    await create_topics(kafka, {f"{name}.dead": 1})
    return name
