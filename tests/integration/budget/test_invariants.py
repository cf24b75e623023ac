"""Books that are wrong are found: each sentence is broken by hand once, and holds before."""

import asyncio
import os
import sys
from collections.abc import Callable

import pytest

from budget.invariants import postings_are_the_ledger
from budget.store import QUERIES
from farebox import topics
from farebox.events import Envelope
from farebox.ids import new_id
from farebox.invariants import look
from farebox.kafka import Message, Producer
from support.office import BudgetOffice, open_office, won

COST = 6_000_000  # 7.80 won
BREAKING = {
    "escrow_is_held": "UPDATE budget_window SET escrowed = escrowed + 1",
    "within_limit": "ALTER TABLE budget_window DROP CONSTRAINT within_limit; UPDATE budget_window SET posted = 10^12",
    "dead_epochs_hold_nothing": "UPDATE gateway SET epoch = epoch + 1",
    "marks_are_noted": "DELETE FROM crossing",
    "marks_are_resolved": "UPDATE budget_window SET posted = posted - 10 * 10^9",
}


async def broken(office: BudgetOffice) -> set[str]:
    return {each.name for each in await look(office.pool, QUERIES) if each.rows}


async def at_work(office: BudgetOffice) -> None:
    """Some spending, a crossed threshold, a lease in hand and one in suspense."""
    await office.org()
    await office.budget("20", thresholds=[{"severity": "warning", "percent": "12.5"}, {"severity": "a", "amount": "3"}])
    key = await office.key()
    await office.start()
    await office.grant(key, COST)
    await office.start(last_epoch=0)
    lease = (await office.grant(key, COST, epoch=2)).lease
    assert lease is not None
    await office.post(office.priced(key, won("3"), lease.lease_id))


async def test_sound_books_break_no_sentence(office: BudgetOffice) -> None:
    await at_work(office)
    found = await look(office.pool, QUERIES)
    assert {each.name for each in found} == set(BREAKING)
    assert [each for each in found if each.rows] == []
    assert all(each.sentence.endswith(".") for each in found)


@pytest.mark.parametrize("name", BREAKING)
async def test_wrong_books_are_found(office: BudgetOffice, name: str) -> None:
    await at_work(office)
    await office.pool.execute(BREAKING[name])
    assert name in await broken(office)


async def test_a_mark_that_is_reached_while_its_last_occurrence_is_over_is_found(office: BudgetOffice) -> None:
    await at_work(office)
    await office.pool.execute("UPDATE crossing SET resolved_at = crossed_at")
    assert "marks_are_noted" in await broken(office)


async def test_a_mark_that_is_posted_and_noted_only_as_reached_by_suspense_is_found(office: BudgetOffice) -> None:
    await at_work(office)
    await office.pool.execute("UPDATE crossing SET provisional = true")
    assert "marks_are_noted" in await broken(office)


async def announced(office: BudgetOffice, kafka: str) -> None:
    """Two entries posted; on the topic, one of them twice, and one that was not posted yet."""
    await topics.create(kafka, replication=1)
    await office.org()
    await office.budget("20")
    await office.pool.execute("UPDATE budget SET created_at = '2020-01-01'")
    key = await office.key()
    first, second, late = (office.priced(key, won(amount)) for amount in ("1", "2", "3"))
    await office.post(first, second)
    envelopes = [Envelope(new_id(), "farebox/metering", e.priced_at, "k", e) for e in (first, second, second, late)]
    async with Producer(kafka, client_id="test") as producer:
        await producer.send([Message.carrying(each, topic="usage.priced", key="k") for each in envelopes], 30)


async def test_postings_are_the_sum_of_what_the_ledger_announced(office: BudgetOffice, kafka: str) -> None:
    await announced(office, kafka)
    assert not (await postings_are_the_ledger(kafka, office.pool)).rows


@pytest.mark.parametrize("change", [-1, 1])
async def test_a_posting_that_is_a_nano_off_the_ledger_is_found(office: BudgetOffice, kafka: str, change: int) -> None:
    await announced(office, kafka)
    await office.pool.execute("UPDATE budget_window SET posted = posted + $1::int", change)
    (row,) = (await postings_are_the_ledger(kafka, office.pool)).rows
    assert (row["posted"] - row["ledger"], row["ledger_of_before"]) == (change, 0)


async def test_what_was_spent_before_there_was_the_budget_may_be_in_it_or_not(office: BudgetOffice, kafka: str) -> None:
    await announced(office, kafka)
    await office.pool.execute("UPDATE budget SET created_at = '2100-01-01'")
    await office.pool.execute("UPDATE budget_window SET posted = 0")
    assert not (await postings_are_the_ledger(kafka, office.pool)).rows


async def audited(dsn: str, kafka: str) -> tuple[int | None, str]:
    """How the command ends, run as an operator runs it, and what it says."""
    given = {"postgres_dsn": dsn, "kafka_bootstrap": kafka, "service_secret": "s" * 32, "port": "1", "ops_port": "2"}
    env = os.environ | {f"FAREBOX_{name.upper()}": value for name, value in given.items()}
    command = (sys.executable, "-m", "budget.invariants")
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_the_command_names_the_rows_and_ends_with_one(database: Callable[[str], str], kafka: str) -> None:
    dsn = database("budget")
    async with open_office(dsn) as office:
        await announced(office, kafka)
        assert (await audited(dsn, kafka))[0] == 0
        await office.pool.execute("UPDATE budget_window SET posted = posted + 1")
        status, said = await audited(dsn, kafka)
    assert status == 1
    assert "BROKEN  postings_are_the_ledger" in said
    assert "posted=3000000001, ledger=3000000000" in said
