"""The database takes no writes for a while, as in a failover: nothing dies of it, and all is posted afterwards."""

from collections.abc import Awaitable, Callable

from farebox.kafka import Producer
from farebox.kafka.subscriber import HANDLER_ATTEMPTS
from farebox.postgres import ping
from farebox_local.postgres import GivenPostgres
from support.eventually import eventually
from support.failover import read_only
from support.group import grouped
from support.office import BudgetOffice, announcing, open_office, won
from support.records import Counted, length
from support.topic import create_topics


async def test_entries_are_posted_after_the_database_was_read_only(
    database: Callable[[str], str], postgres: GivenPostgres, kafka: str, topic: Callable[..., Awaitable[str]]
) -> None:
    dsn, source = database("budget"), await topic("usage.priced")
    await create_topics(kafka, {f"{source}.dead": 1})
    async with (
        open_office(dsn) as office,
        Producer(kafka, client_id="test") as producer,
        grouped(kafka, source, producer) as group,
    ):
        await office.org()
        await office.budget("20000")
        key = await office.key()
        handler = Counted(office.handler)
        await group.join(handler)
        async with read_only(postgres.dsn(), dsn):
            for sent in range(1, 4):
                await producer.send([announcing(source, office.priced(key, won("1")))], 30)
                await eventually(handler.called(sent * HANDLER_ATTEMPTS + 1))
        await eventually(lambda: posted(office, 3))
        assert (await office.balance())["spent"] == "3"
    assert await length(kafka, f"{source}.dead") == 0


async def test_a_read_only_database_is_named_and_answers_503(office: BudgetOffice, postgres: GivenPostgres) -> None:
    await office.org()
    async with read_only(postgres.dsn(), office.dsn):
        await eventually(lambda: says(office, "PostgreSQL: takes no writes"))
        answer = await office.admin.post("/api/keys", json={"account": "minh", "name": "laptop"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert (await office.admin.post("/api/keys", json={"account": "minh", "name": "laptop"})).status_code == 201
    assert await ping(office.pool) == []


async def posted(office: BudgetOffice, count: int) -> bool:
    return bool(await office.pool.fetchval("SELECT count(*) = $1 FROM posting", count))


async def says(office: BudgetOffice, problem: str) -> bool:
    """What is not ready; the first look may meet a session that was ended."""
    return await ping(office.pool) == [problem]
