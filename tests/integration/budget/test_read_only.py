"""The database takes no writes for a while, as in a failover: nothing dies of it, and all is posted afterwards."""

from collections.abc import Awaitable, Callable

from farebox.kafka import Producer
from farebox.kafka.subscriber import HANDLER_ATTEMPTS
from farebox.postgres import ping
from farebox_local.postgres import GivenPostgres
from support.budget_service import BudgetService, announcing, open_budget_service, won
from support.eventually import eventually
from support.failover import read_only
from support.group import grouped
from support.records import Counted, length
from support.topic import create_topics


async def test_entries_are_posted_after_the_database_was_read_only(
    database: Callable[[str], str], postgres: GivenPostgres, kafka: str, topic: Callable[..., Awaitable[str]]
) -> None:
    dsn, source = database("budget"), await topic("usage.priced")
    await create_topics(kafka, {f"{source}.dead": 1})
    async with (
        open_budget_service(dsn) as service,
        Producer(kafka, client_id="test") as producer,
        grouped(kafka, source, producer) as group,
    ):
        await service.org()
        await service.budget("20000")
        key = await service.key()
        handler = Counted(service.handler)
        await group.join(handler)
        async with read_only(postgres.dsn(), dsn):
            for sent in range(1, 4):
                await producer.send([announcing(source, service.priced(key, won("1")))], 30)
                await eventually(handler.called(sent * HANDLER_ATTEMPTS + 1))
        await eventually(lambda: posted(service, 3))
        assert (await service.balance())["spent"] == "3"
    assert await length(kafka, f"{source}.dead") == 0


async def test_a_read_only_database_is_named_and_answers_503(service: BudgetService, postgres: GivenPostgres) -> None:
    await service.org()
    async with read_only(postgres.dsn(), service.dsn):
        await eventually(lambda: says(service, "PostgreSQL: takes no writes"))
        answer = await service.admin.post("/api/keys", json={"account": "minh", "name": "laptop"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert (await service.admin.post("/api/keys", json={"account": "minh", "name": "laptop"})).status_code == 201
    assert await ping(service.pool) == []


async def posted(service: BudgetService, count: int) -> bool:
    return bool(await service.pool.fetchval("SELECT count(*) = $1 FROM posting", count))


async def says(service: BudgetService, problem: str) -> bool:
    """What is not ready; the first look may meet a session that was ended."""
    return await ping(service.pool) == [problem]
