"""A service as a process: `python -m <service> [--check | --migrate]`, two ports, and a graceful end on SIGTERM."""

import argparse
import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Final, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from farebox.errors import FareboxError, Invalid
from farebox.settings import ServiceSettings
from farebox.telemetry import configure_logs

GRACE_S: Final = 20
"""Seconds that requests under way have to end after SIGTERM."""

BACKLOG: Final = 2048
"""Connections that wait to be accepted."""

GC_OBJECTS: Final = 200_000
"""New objects between looks of the collector: more than a batch makes."""

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def main(
    service: str,
    settings_type: type[SettingsT],
    run: Callable[[SettingsT], Coroutine[None, None, None]],
    migrate: Callable[[SettingsT], Coroutine[None, None, list[str]]] | None = None,
) -> None:
    """The command line of a service. Exits 2 for bad configuration, with one line for each problem."""
    parser = argparse.ArgumentParser(prog=f"python -m {service}")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="list every configuration problem and exit")
    if migrate is not None:
        modes.add_argument("--migrate", action="store_true", help="bring the database up to date and exit")
    arguments = parser.parse_args()
    try:
        settings = settings_type.read()
    except Invalid as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - a command's answer
        raise SystemExit(2) from None
    if arguments.check:
        print(f"{service}: configuration is complete")  # noqa: T201
        return
    configure_logs(service, settings.instance, settings.log_level)
    if migrate is not None and arguments.migrate:
        for name in uvloop.run(migrate(settings)):
            print(f"applied {name}")  # noqa: T201
        return
    uvloop.run(run(settings))


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: two servers share one process and one end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: ServiceSettings, *, api: ASGIApp, ops: ASGIApp) -> None:
    """Listen on both ports until SIGTERM or SIGINT, then let requests under way end within GRACE_S.

    Raises FareboxError when a port cannot be had.
    """
    with (
        _listening(settings.host, settings.port) as api_socket,
        _listening(settings.host, settings.ops_port) as ops_socket,
    ):
        servers = {_server(api): api_socket, _server(ops): ops_socket}

        def stop() -> None:
            for server in servers:
                server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await asyncio.gather(*(server.serve(sockets=[socket_]) for server, socket_ in servers.items()))


def _listening(host: str, port: int) -> socket.socket:
    """Bound here, because uvicorn answers a port it cannot have by ending the process out of its task."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise FareboxError(f"port {port} of {host} cannot be listened on: {error.strerror}") from error


def _server(app: ASGIApp) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody here asks for a caller's address
            backlog=BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


def settle_memory() -> None:
    """Keep the collector from walking all modules, and whole batches, again and again: it took half of the time.

    A batch makes some hundred thousand objects that live until it is posted and are freed by their counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 100)
