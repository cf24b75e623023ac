"""Whether PostgreSQL keeps what it acknowledges, by its settings: a service that trusts it says so where it may not.

What settings do not tell: whether the disk keeps its word, and whether a failover goes to a standby that had everything
(it had, if `synchronous_standby_names` names it and `synchronous_commit` waits for it).
"""

from collections.abc import Mapping
from typing import Final

import structlog
from prometheus_client import Gauge

from farebox.postgres import Pool, Queries, session
from farebox.recurring import Recurring

log = structlog.get_logger()

EVERY_S: Final = 60.0
"""A failover may lead to a server with other settings."""
DURABLE: Final = Gauge(
    "farebox_postgres_durable", "1 if PostgreSQL's settings let no acknowledged commit be lost, else 0.", ["schema"]
)
_SQL: Final = Queries.load("farebox")


def weaknesses(settings: Mapping[str, str]) -> list[str]:
    """The settings under which a crash may lose acknowledged commits, as `name=value`."""
    weak = [f"{name}=off" for name in ("fsync", "full_page_writes") if settings[name] == "off"]
    commit = settings["synchronous_commit"]
    if commit == "off" or (commit == "local" and settings["synchronous_standby_names"]):
        weak.append(f"synchronous_commit={commit}")
    return weak


def watched(pool: Pool, *, schema: str) -> Recurring:
    """The look at the settings: a gauge, and a line in the log at the first look and whenever they change."""
    before: list[str] = []

    async def measure() -> None:
        async with session(pool) as connection:
            rows = await connection.fetch(_SQL["durability"])
        weak = weaknesses({row["name"]: row["setting"] for row in rows})
        DURABLE.labels(schema).set(not weak)
        if weak and weak != before:
            log.warning("postgres_may_lose_commits", schema=schema, settings=weak)
        before[:] = weak

    return Recurring("durability", measure, every_s=EVERY_S)
