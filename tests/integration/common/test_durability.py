"""A service names a PostgreSQL that may lose commits, once, and in a gauge for as long as it is so."""

from collections.abc import Callable

import structlog
from prometheus_client import REGISTRY

from farebox.durability import DURABLE, watched
from farebox.postgres import open_pool
from support.eventually import eventually


def shown() -> float | None:
    return REGISTRY.get_sample_value("farebox_postgres_durable", {"schema": "budget"})


async def test_what_may_be_lost_is_logged_once_and_shown_while_it_may(database: Callable[[str], str]) -> None:
    pool = await open_pool(database("budget"), schema="budget", size=1)
    await pool.execute("SET synchronous_commit = off")
    with structlog.testing.capture_logs() as logged:
        async with watched(pool, schema="budget") as look:
            await eventually(lambda: shown() == 0.0)
            DURABLE.labels("budget").set(1)
            look.wake()
            await eventually(lambda: shown() == 0.0)
    told = [line["settings"] for line in logged if line["event"] == "postgres_may_lose_commits"]
    await pool.close()
    assert len(told) == 1
    assert "synchronous_commit=off" in told[0]
