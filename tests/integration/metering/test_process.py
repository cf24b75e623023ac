"""`python -m metering`: checks, health without its servers, and a graceful end."""

import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import Callable

import httpx

from farebox_local.ports import free_port
from support.eventually import eventually


async def metering(*arguments: str, **settings: object) -> Process:
    """The process, with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    given = {f"FAREBOX_{name.upper()}": str(value) for name, value in settings.items()}
    return await create_subprocess_exec(
        sys.executable, "-m", "metering", *arguments, env={**kept, **given}, stdout=PIPE, stderr=PIPE
    )


def complete(**settings: object) -> dict[str, object]:
    """Every setting, of servers that are not there unless given."""
    away = f"127.0.0.1:{free_port()}"
    return {
        "port": free_port(),
        "ops_port": free_port(),
        "kafka_bootstrap": away,
        "service_secret": "s" * 32,
        "postgres_dsn": f"postgresql://nobody@{away}/nowhere",
        **settings,
    }


async def test_check_lists_every_problem_at_once() -> None:
    process = await metering("--check", port="http", service_secret="short", retention_days="1")
    _, problems = await process.communicate()
    assert process.returncode == 2
    named = {line.partition(":")[0] for line in problems.decode().splitlines()}
    wrong = ("PORT", "OPS_PORT", "KAFKA_BOOTSTRAP", "SERVICE_SECRET", "POSTGRES_DSN", "RETENTION_DAYS")
    assert named == {f"FAREBOX_{name}" for name in wrong}


async def test_check_is_content_with_a_complete_configuration() -> None:
    process = await metering("--check", **complete())
    assert (await process.communicate())[0] == b"metering: configuration is complete\n"
    assert process.returncode == 0


async def test_migrate_says_what_it_applied(database: Callable[[str], str]) -> None:
    process = await metering("--migrate", **complete(postgres_dsn=database("metering")))
    await process.communicate()
    assert process.returncode == 0  # nothing left to apply: the database is a migrated one


async def test_without_its_servers_it_lives_is_not_ready_and_ends_gracefully() -> None:
    settings = complete()
    process = await metering(**settings)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings['ops_port']}", trust_env=False) as client:

        async def lives() -> bool:
            return (await client.get("/healthz/live")).status_code == 200

        await eventually(lives)
        ready = await client.get("/healthz/ready")
        metrics = (await client.get("/metrics")).text
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert (ready.status_code, process.returncode) == (503, 0)
    assert any("PostgreSQL" in problem for problem in ready.json()["problems"])
    assert "farebox_metering_suspense_open" in metrics
