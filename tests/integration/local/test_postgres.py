from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from farebox_local.postgres import Postgres


@pytest.fixture
def server(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    server = Postgres(server_folder / request.node.name)
    server.start()
    yield server
    server.stop()


async def fetchval(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_killed_server_comes_back_on_its_port_with_its_data(server: Postgres) -> None:
    await fetchval(server.dsn(), "CREATE TABLE kept AS SELECT 7 AS seven")
    server.kill()
    assert not server.answers()
    server.start()
    assert await fetchval(server.dsn(), "SELECT seven FROM kept") == 7


async def test_a_leftover_server_of_a_dead_run_is_taken_over(server: Postgres, server_folder: Path) -> None:
    pid = server.process.pid
    again = Postgres(server_folder / "test_a_leftover_server_of_a_dead_run_is_taken_over")
    again.start()
    try:
        assert again.process.pid != pid
        assert not server.process.alive
        assert again.dsn() == server.dsn()
    finally:
        again.stop()


async def test_wrong_password_is_refused(server: Postgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.dsn(user="postgres", password="guessed"))


async def test_a_service_database_belongs_to_the_service_role(database: Callable[[str], str]) -> None:
    dsn = database("metering")
    assert await fetchval(dsn, "SELECT current_user || ' ' || current_schema()") == "farebox_metering metering"


async def test_two_databases_of_a_service_share_nothing(database: Callable[[str], str]) -> None:
    one, other = database("budget"), database("budget")
    await fetchval(one, "CREATE TABLE only_here (id int)")
    assert await fetchval(other, "SELECT to_regclass('only_here')") is None
