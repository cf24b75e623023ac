"""Kafka delivers at least once; PostgreSQL makes it one effect."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from farebox.kafka import Producer
from farebox.postgres import Pool, open_pool
from farebox_local.postgres import Postgres
from support.effects import attempts, create_effects, effects, storing
from support.eventually import eventually
from support.group import Group
from support.records import numbered

_TESTS = Path(__file__).parents[2]


@pytest.fixture
def own_postgres(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server that the test may kill."""
    server = Postgres(server_folder / request.node.name)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def pool(own_postgres: Postgres) -> AsyncIterator[Pool]:
    await create_effects(own_postgres.dsn())
    pool = await open_pool(own_postgres.dsn(), schema="public", size=2)
    yield pool
    pool.terminate()


async def test_database_killed_and_restarted_loses_nothing_and_kills_nobody(
    group: Group, source: str, producer: Producer, pool: Pool, own_postgres: Postgres
) -> None:
    member = await group.join(storing(pool))
    await producer.send(numbered(source, 100, keys=9), 20.0)
    await eventually(_stored(pool, 100))
    own_postgres.kill()
    await producer.send(numbered(source, 100, keys=9, first=100), 20.0)
    await eventually(lambda: member.subscription.lag() and sum(member.subscription.lag().values()) == 100)
    assert member.broker.problems() == []
    own_postgres.start()
    await eventually(_stored(pool, 200))


async def test_crash_between_database_commit_and_offset_commit_delivers_twice_and_counts_once(
    group: Group, source: str, producer: Producer, pool: Pool, own_postgres: Postgres, kafka: str
) -> None:
    await producer.send(numbered(source, 20, keys=1), 20.0)
    crashing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.crashing_member", kafka, source, group.id, own_postgres.dsn()),
        env={"PYTHONPATH": str(_TESTS)},
    )
    assert await crashing.wait() == -9
    assert await effects(pool) == 20
    await group.join(storing(pool), instance_id="replica-1")  # restarted: needs no rebalance
    await eventually(_attempted(pool, 40), within_s=40)
    assert await effects(pool) == 20


def _stored(pool: Pool, count: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await effects(pool) == count

    return check


def _attempted(pool: Pool, count: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await attempts(pool) == count

    return check
