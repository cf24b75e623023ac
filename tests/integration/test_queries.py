"""Every named statement of every service is understood by a freshly migrated database."""

from collections.abc import Callable

import asyncpg
import pytest

from farebox.postgres import Queries


@pytest.mark.parametrize("service", ["budget", "metering", "notifier"])
async def test_every_query_prepares(service: str, database: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(database(service), server_settings={"search_path": service})
    try:
        for package in ("farebox", service):
            for name, text in Queries.load(package).items():
                try:
                    await connection.prepare(text)
                except asyncpg.PostgresError as error:
                    pytest.fail(f"{package}: {name}: {error}")
    finally:
        await connection.close()
