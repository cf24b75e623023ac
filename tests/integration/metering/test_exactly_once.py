"""However often and in whatever order an attempt is told, it is charged once."""

import random
import sys
from asyncio.subprocess import create_subprocess_exec
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.attempts import ALICE, BOB, attempt, id_made_at
from support.books import Books
from support.eventually import eventually


async def test_duplicates_within_a_batch_and_across_batches_have_no_effect(books: Books) -> None:
    events = [attempt() for _ in range(20)]
    await books.send(*events, *events)
    async with books.replica():
        await books.entries(20)
        await books.send(*events)
        await books.handled(60)
        assert len(await books.priced(20)) == 20
    assert await books.value("SELECT sum(attempts) FROM usage_day") == 20


async def test_a_replay_of_the_topic_has_no_effect(books: Books) -> None:
    await books.send(*(attempt() for _ in range(20)))
    async with books.replica():
        await books.entries(20)
        await books.relayed()
    again = replace(books, names=replace(books.names, group=f"{books.names.group}.again"))
    async with again.replica():
        await again.handled(20)
        assert len(await again.priced(20)) == 20
    assert await books.value("SELECT sum(attempts) FROM usage_hour") == 20


async def test_a_replay_whose_other_fields_differ_meets_its_original(books: Books) -> None:
    event = attempt()
    changed = event.model_copy(update={"started_at": event.started_at - timedelta(days=40), "principal": BOB})
    await books.send(event)
    async with books.replica():
        await books.entries(1)
        await books.send(changed)
        await books.handled(2)
    [entry] = await books.entries(1)
    assert entry["user_id"] == "alice"


async def test_two_replicas_of_a_group_charge_every_attempt_once(books: Books) -> None:
    events = [attempt(principal=ALICE.model_copy(update={"user": f"user-{n % 17}"})) for n in range(600)]
    async with books.replica(), books.replica():
        for start in range(0, 600, 100):
            await books.send(*events[start : start + 100], *random.sample(events, 50))
        await books.handled(900)
        await books.entries(600)
        assert len(await books.priced(600)) == 600
    assert await books.value("SELECT sum(attempts) FROM usage_day") == 600


async def test_a_crash_between_database_commit_and_offset_commit_charges_once(books: Books) -> None:
    await books.send(*(attempt() for _ in range(30)))
    dsn, names = books.settings.postgres_dsn.get_secret_value(), books.names
    dying = await create_subprocess_exec(
        *(sys.executable, "-m", "support.dying_metering", dsn, books.settings.kafka_bootstrap),
        *(names.requests, names.priced, names.prices, names.group),
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert await dying.wait() == -9
    assert (await books.value("SELECT count(*) FROM ledger"), await books.committed()) == (30, 0)
    async with books.replica():
        await books.handled(30)
        assert len(await books.priced(30)) == 30
    await books.entries(30)


async def test_late_and_out_of_order_attempts_go_where_their_ids_belong(books: Books) -> None:
    now = datetime.now(UTC)
    days = [89, 0, 40, 65, 1, 20]
    await books.send(*(attempt(id_made_at(now - timedelta(days=days_ago))) for days_ago in days))
    async with books.replica():
        entries = await books.entries(len(days))
    assert [(now - entry["made_at"]).days for entry in entries] == sorted(days, reverse=True)
    partitions = await books.fetch("SELECT DISTINCT tableoid::regclass::text AS name FROM entry")
    months = {f"entry_{entry['made_at']:%Y_%m}" for entry in entries}
    assert {row["name"] for row in partitions} == months


async def test_replicas_that_start_together_make_each_partition_once(books: Books) -> None:
    async with books.replica() as one, books.replica() as other:
        await books.send(attempt())
        await books.entries(1)
        await eventually(lambda: not one.live() and not other.live())
    made = await books.fetch("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'entry'::regclass")
    assert len(made) >= 5  # 90 days back, two months ahead
