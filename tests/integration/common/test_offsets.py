"""Offsets beside the effect: what a database has forgotten is handed over again, and nothing else."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from farebox.kafka import Offsets, Producer
from farebox.postgres import Pool, open_pool
from support.effects import attempts, create_effects, effects, storing
from support.eventually import eventually
from support.group import Group, Member
from support.records import committed, numbered
from support.topic import delete_before

Join = Callable[[], Awaitable[Member]]
FORGET = """
WITH forgotten AS (DELETE FROM effect WHERE value::int >= $1)
UPDATE consumer_offset SET next_offset = $1
"""


@pytest.fixture
async def pool(database: Callable[[str], str]) -> AsyncIterator[Pool]:
    dsn = database("budget")
    await create_effects(dsn)
    pool = await open_pool(dsn, schema="budget", size=2)
    yield pool
    await pool.close()


@pytest.fixture
def join(group: Group, pool: Pool) -> Join:
    async def join() -> Member:
        offsets = Offsets(pool, group.id)
        return await group.join(storing(pool, offsets), offsets=offsets)

    return join


async def test_restored_database_gets_again_what_it_has_forgotten(
    join: Join, group: Group, source: str, producer: Producer, pool: Pool, kafka: str
) -> None:
    member = await join()
    await producer.send(numbered(source, 10), 20.0)
    await eventually(lambda: handled(kafka, group, source, 10))
    await member.stop()
    await pool.execute(FORGET, 4)
    await join()
    await eventually(lambda: stored(pool, 10))
    assert await attempts(pool) == 10 + 6


async def test_database_that_forgets_while_at_work_is_found_by_the_next_batch(
    join: Join, group: Group, source: str, producer: Producer, pool: Pool, kafka: str
) -> None:
    await join()
    await producer.send(numbered(source, 10), 20.0)
    await eventually(lambda: handled(kafka, group, source, 10))
    await pool.execute(FORGET, 4)
    await producer.send(numbered(source, 1, first=10), 20.0)
    await eventually(lambda: stored(pool, 11))
    assert await attempts(pool) == 10 + 7


async def test_a_database_that_remembers_more_than_the_topic_has_leads_nowhere(
    join: Join, group: Group, source: str, producer: Producer, pool: Pool
) -> None:
    """As after the topic was deleted and made again."""
    await pool.execute("INSERT INTO consumer_offset SELECT $1, $2, generate_series(0, 2), 1000000", group.id, source)
    await producer.send(numbered(source, 10, keys=5), 20.0)
    await join()
    await eventually(lambda: stored(pool, 10))
    assert await pool.fetchval("SELECT sum(next_offset) FROM consumer_offset WHERE next_offset < 1000000") == 10


async def test_a_database_that_remembers_what_the_topic_no_longer_has_begins_with_the_oldest(
    join: Join, group: Group, source: str, producer: Producer, pool: Pool, kafka: str
) -> None:
    await producer.send(numbered(source, 10), 20.0)
    member = await join()
    await eventually(lambda: handled(kafka, group, source, 10))
    await member.stop()
    await pool.execute(FORGET, 2)
    await delete_before(kafka, source, 5)
    await join()
    await eventually(lambda: stored(pool, 2 + 5))


async def test_nothing_is_handed_over_before_the_database_has_said_where_to_go_on(
    join: Join, group: Group, source: str, producer: Producer, pool: Pool, kafka: str
) -> None:
    await producer.send(numbered(source, 10), 20.0)
    member = await join()
    await eventually(lambda: handled(kafka, group, source, 10))
    await member.stop()
    await pool.execute(FORGET, 4)
    await pool.execute("ALTER TABLE consumer_offset RENAME TO elsewhere")
    member = await join()
    await eventually(lambda: member.partitions == 3)
    await producer.send(numbered(source, 1, first=10), 20.0)
    await pool.execute("ALTER TABLE elsewhere RENAME TO consumer_offset")
    await eventually(lambda: stored(pool, 11))
    assert await attempts(pool) == 10 + 7


async def handled(kafka: str, group: Group, topic: str, count: int) -> bool:
    return await committed(kafka, group.id, topic, 3) == count


async def stored(pool: Pool, count: int) -> bool:
    return await effects(pool) == count
