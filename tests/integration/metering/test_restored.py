"""A database that is restored from a while ago prices that while again, once."""

from farebox_local.postgres import GivenPostgres
from support.attempts import attempt
from support.books import Books
from support.eventually import eventually
from support.failover import snapshot


async def priced(books: Books, first: int, count: int) -> None:
    await books.send(*(attempt() for _ in range(first, count)))
    await books.entries(count)
    await books.handled(count)


async def once(books: Books, count: int) -> bool:
    """Whether every attempt is in the ledger, and in the rollups once."""
    ledger, rollup = await books.fetch("SELECT count(*) FROM ledger UNION ALL SELECT sum(attempts) FROM usage_day")
    return int(ledger[0]) == int(rollup[0]) == count


async def test_a_replica_that_starts_on_a_restored_database_prices_again_what_it_has_forgotten(
    books: Books, postgres: GivenPostgres
) -> None:
    async with books.replica():
        await priced(books, 0, 20)
    async with snapshot(postgres.dsn(), books.dsn) as restore:
        async with books.replica():
            await priced(books, 20, 40)
        await restore()
    async with books.replica():
        await eventually(lambda: once(books, 40))


async def test_a_replica_at_work_finds_that_its_database_was_restored(books: Books, postgres: GivenPostgres) -> None:
    async with books.replica():
        await priced(books, 0, 20)
        async with snapshot(postgres.dsn(), books.dsn) as restore:
            await eventually(lambda: once(books, 20))
            await priced(books, 20, 40)
            await restore()
        await books.send(*(attempt() for _ in range(20)))
        await eventually(lambda: once(books, 60))
