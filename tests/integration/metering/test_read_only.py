"""The database takes no writes for a while, as in a failover: nothing dies of it, and all is priced afterwards."""

from collections.abc import Callable

from farebox_local.postgres import GivenPostgres
from support.attempts import attempt
from support.books import open_books
from support.eventually import eventually
from support.failover import read_only
from support.records import length


async def test_attempts_are_priced_after_the_database_was_read_only(
    database: Callable[[str], str], postgres: GivenPostgres, kafka: str
) -> None:
    dsn = database("metering")
    async with open_books(kafka, dsn) as books, books.replica() as replica:
        await books.send(attempt())
        await books.entries(1)
        async with read_only(postgres.dsn(), dsn):
            for _ in range(7):
                await books.send(attempt())
            await eventually(replica.ready)
        await books.entries(8)
        await books.handled(8)
    assert await length(kafka, f"{books.names.requests}.dead") == 0
