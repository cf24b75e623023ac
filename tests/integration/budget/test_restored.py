"""A database that is restored from a while ago posts that while again, once."""

from collections.abc import Awaitable, Callable
from typing import Any

from farebox.kafka import Producer
from farebox_local.postgres import GivenPostgres
from support.budget_service import BudgetService, announcing, open_budget_service, won
from support.eventually import eventually
from support.failover import snapshot
from support.group import Group, grouped
from support.records import committed


async def test_a_service_on_a_restored_database_posts_again_what_it_has_forgotten(
    database: Callable[[str], str], postgres: GivenPostgres, kafka: str, topic: Callable[..., Awaitable[str]]
) -> None:
    dsn, source = database("budget"), await topic("usage.priced")
    async with open_budget_service(dsn) as service, Producer(kafka, client_id="test") as producer:
        await service.org()
        await service.budget("20000")
        key = await service.key()

        async def spend(times: int, total: int) -> None:
            await producer.send([announcing(source, service.priced(key, won("1"))) for _ in range(times)], 30)
            await eventually(lambda: spent(service, total))

        async with grouped(kafka, source, producer) as group:
            member = await group.join(service.handler, offsets=service.offsets)
            await spend(10, 10)
            async with snapshot(postgres.dsn(), dsn) as restore:
                await eventually(lambda: spent(service, 10))
                await spend(10, 20)
                await eventually(lambda: handled(kafka, group, source, 20))
                await member.stop()
                await restore()
            await group.join(service.handler, offsets=service.offsets)
            await eventually(lambda: spent(service, 20))
        await service.post(service.priced(key, won("1")))
        assert await spent(service, 21)


async def handled(kafka: str, group: Group, topic: str, count: int) -> bool:
    return await committed(kafka, group.id, topic, 1) == count


async def spent(service: BudgetService, amount: int) -> bool:
    balance: dict[str, Any] = await service.balance()
    return bool(balance["spent"] == str(amount))
