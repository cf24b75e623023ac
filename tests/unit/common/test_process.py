"""A service as a process: its command line, its two ports, its end."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from farebox.errors import FareboxError
from farebox.process import main, serve
from farebox.settings import ServiceSettings
from farebox_local.ports import free_port
from support.eventually import eventually

ran: list[ServiceSettings] = []


async def run(settings: ServiceSettings) -> None:
    ran.append(settings)


async def migrate(_: ServiceSettings) -> list[str]:
    return ["demo/0001_start.sql"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Complete configuration, and nothing run yet."""
    monkeypatch.chdir(tmp_path)
    ports = {"FAREBOX_PORT": "0", "FAREBOX_OPS_PORT": "0"}
    for name, value in {**ports, "FAREBOX_KAFKA_BOOTSTRAP": "k:9092", "FAREBOX_SERVICE_SECRET": "s" * 32}.items():
        monkeypatch.setenv(name, value)
    ran.clear()
    return monkeypatch


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["demo", *arguments])
    main("demo", ServiceSettings, run, migrate)


def test_check_runs_nothing(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command(environment, "--check")
    assert capsys.readouterr().out == "demo: configuration is complete\n"
    assert ran == []


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--migrate",)])
def test_bad_configuration_is_told_line_by_line_and_runs_nothing(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    environment.setenv("FAREBOX_PORT", "no port")
    environment.delenv("FAREBOX_KAFKA_BOOTSTRAP")
    with pytest.raises(SystemExit) as ended:
        command(environment, *arguments)
    assert ended.value.code == 2
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "FAREBOX_PORT",
        "FAREBOX_KAFKA_BOOTSTRAP",
    ]
    assert ran == []


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


def listening(port: int, ops_port: int) -> ServiceSettings:
    return ServiceSettings.model_validate(
        {"port": port, "ops_port": ops_port, "kafka_bootstrap": "k:9092", "service_secret": "s" * 32}
    )


async def answers(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}/")).text == "hello"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_both_ports_answer_until_the_process_is_told_to_end(number: signal.Signals) -> None:
    port, ops_port = free_port(), free_port()
    app = Starlette(routes=[Route("/", hello)])
    serving = asyncio.create_task(serve(listening(port, ops_port), api=app, ops=app))
    assert await eventually(lambda: answers(port))
    assert await eventually(lambda: answers(ops_port))
    os.kill(os.getpid(), number)
    await asyncio.wait_for(serving, 20)


async def test_a_request_under_way_is_answered_after_the_signal() -> None:
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        begun.set()
        await let_go.wait()
        return PlainTextResponse("hello")

    port = free_port()
    app = Starlette(routes=[Route("/slow", slow), Route("/", hello)])
    serving = asyncio.create_task(serve(listening(port, free_port()), api=app, ops=app))
    assert await eventually(lambda: answers(port))
    async with httpx.AsyncClient() as client:
        asking = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/slow"))
        await begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        let_go.set()
        assert (await asking).text == "hello"
    await asyncio.wait_for(serving, 20)


async def test_a_port_that_is_taken_is_an_error_of_the_process() -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with taken:
        port: int = taken.sockets[0].getsockname()[1]
        with pytest.raises(FareboxError, match=f"port {port} of 127.0.0.1"):
            await asyncio.wait_for(serve(listening(port, free_port()), api=Starlette(), ops=Starlette()), 20)
