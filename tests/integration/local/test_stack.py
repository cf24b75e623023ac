"""The supervisor, without the services: servers, sinks and provider on free ports in a folder of their own."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from conftest import ROLE_PASSWORD
from farebox_local.databases import SERVICES_WITH_TABLES, drop_database, role_of
from farebox_local.errors import PartFailed, StackRunning
from farebox_local.ports import is_free
from farebox_local.postgres import GivenPostgres
from farebox_local.services import DATABASE, SERVICES
from farebox_local.stack import Plan, Stack


def bare(folder: Path) -> Plan:
    return Plan(folder, replicas=dict.fromkeys(SERVICES, 0), postgres_settings={"fsync": "off"})


@pytest.fixture(scope="module")
def stack(server_folder: Path) -> Iterator[Stack]:
    stack = Stack(bare(server_folder / "parts"))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def test_a_part_that_dies_is_named_with_its_last_words(stack: Stack) -> None:
    stack.check()
    stack.log("webhooks").write_text("last words\n")
    stack.kill("webhooks")
    with pytest.raises(PartFailed, match=r"webhooks: died.*\n.*\nlast words"):
        stack.check()
    stack.start("webhooks")
    stack.check()


def test_a_part_keeps_its_port_when_it_comes_back(stack: Stack) -> None:
    url = stack.around.url("provider")
    stack.kill("provider")
    stack.start("provider")
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_paused_part_is_deaf_until_it_is_resumed(stack: Stack) -> None:
    url = f"{stack.around.url('mail')}/healthz"
    stack.pause("mail")
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(url, timeout=0.3)
    stack.resume("mail")
    assert httpx.get(url).status_code == 200


def test_a_folder_has_one_stack_at_a_time(stack: Stack) -> None:
    with pytest.raises(StackRunning, match="make down"):
        Stack(bare(stack.folder))


def test_down_frees_every_port(server_folder: Path) -> None:
    stack = Stack(bare(server_folder / "short"))
    stack.start("mail")
    stack.down()
    assert is_free(stack.around.port("mail"))
    assert is_free(stack.around.port("smtp"))


def test_servers_that_are_given_are_used_and_left_running(
    kafka: str, postgres: GivenPostgres, server_folder: Path
) -> None:
    plan = replace(bare(server_folder / "given"), kafka_bootstrap=kafka, postgres_dsn=postgres.dsn())
    stack = Stack(plan)
    for service in SERVICES_WITH_TABLES:  # a server has each role once: other tests log in as it meanwhile
        stack.around.secrets.keep(role_of(service), ROLE_PASSWORD)
    try:
        stack.up()
        assert stack.around.kafka_bootstrap == kafka
        assert not (stack.folder / "postgres").exists()
    finally:
        stack.down()
        asyncio.run(drop_database(postgres.dsn(), DATABASE))  # also proves that the server is still there


def test_secrets_are_kept_and_closed_to_others(stack: Stack) -> None:
    secret = stack.around.secrets.of("service_secret")
    assert stack.around.secrets.of("service_secret") == secret
    assert stack.around.secrets.path("service_secret").stat().st_mode & 0o077 == 0
