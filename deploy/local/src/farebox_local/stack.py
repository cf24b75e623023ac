"""The whole of Farebox on this machine: servers, sinks, demo provider and services, each addressable by name."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from farebox import topics
from farebox.postgres import MigrationFailed, migrate
from farebox_local.databases import SERVICES_WITH_TABLES, create_database, create_role, create_schema, role_of
from farebox_local.errors import PartFailed, StackRunning
from farebox_local.kafka import Kafka
from farebox_local.parts import Part, mail_part, provider_part, webhooks_part
from farebox_local.ports import KeptPorts
from farebox_local.postgres import GivenPostgres, Postgres
from farebox_local.process import end_leftover, end_noted, note_of, noted
from farebox_local.services import DATABASE, SERVICES, Surroundings, door, service_part, settings, write_routes

_SERVERS = ("postgres", "kafka")
_SINKS = ("provider", "mail", "webhooks")
AUDITED = ("metering", "budget")
"""Services that hold their books against themselves and against the topics: `python -m <service>.invariants`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stack consists of. A server whose address is given is used, not started.

    `replicas` says how many of a service run, one unless said: `gateway`, `gateway-2`, … `settings` are added to the
    environment of a service, or of one replica, in small letters and without `FAREBOX_`. `upstream` is what the
    gateways' routes say of the demo provider besides. Parts in `doors` (`postgres`, `kafka`, `provider`, a service) are
    reached by services at the port `<part>-door`, where whoever made the plan has a proxy listen.
    """

    folder: Path
    replicas: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kafka_bootstrap: str | None = None
    postgres_dsn: str | None = None
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    upstream: Mapping[str, object] = field(default_factory=dict)
    doors: Collection[str] = ()

    def services(self) -> dict[str, str]:
        """Every replica's name and its service, in the order they start."""
        return {
            service if number == 1 else f"{service}-{number}": service
            for service in SERVICES
            for number in range(1, self.replicas.get(service, 1) + 1)
        }


class Stack:
    """Starts, addresses and stops the parts of one state folder.

    Names: `postgres`, `kafka`, `provider`, `mail`, `webhooks`, and the replicas of the plan. Making a stack takes the
    folder (StackRunning if another process has it) and ends what an earlier run left behind; `down` gives it back.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder = plan.folder.resolve()
        self.description_file = description_file(self.folder)
        self._services = plan.services()
        self._say = say
        self._lock = _take(self.folder)
        _end_leftovers(self.folder)
        self._parts: dict[str, Part] = {}
        self.around = self._build(plan)

    def up(self) -> None:
        """Start everything and return once all of it is ready; data of earlier runs is kept.

        Raises MissingTool, or PartFailed with the name of the part; `down` is to be called all the same.
        """
        with self._step("PostgreSQL, schemas"):
            self._spawn((*_SERVERS, *_SINKS))
            self._wait_ready(("postgres",))
            asyncio.run(_prepare_database(self.around))
        with self._step("Kafka, topics, mail, webhooks, demo provider"):
            self._wait_ready((*_SERVERS, *_SINKS))
            asyncio.run(topics.create(self.around.kafka_bootstrap, replication=1))
        with self._step(", ".join(self._services)):
            write_routes(self.around)
            self._spawn(self._services)
            self._wait_ready(self._services)

    def down(self) -> None:
        """Stop in order: gateways, the other services, sinks and provider, servers last."""
        self.description_file.unlink(missing_ok=True)
        for rank in range(_RANKS):
            group = [part.process for name, part in self._parts.items() if _rank(name) == rank]
            for process in group:
                process.ask_to_stop()
            for process in group:
                process.wait_stopped()
        self._lock.close()

    def start(self, name: str) -> None:
        """Start one part that was stopped or killed, and wait until it is ready."""
        self._spawn((name,))
        self._wait_ready((name,))

    def begin(self, name: str, once: Mapping[str, str] | None = None) -> None:
        """Start one part without waiting for it; `once` goes on top of its environment for this run alone."""
        self._parts[name].process.once = once or {}
        self._spawn((name,))

    def answers(self, name: str) -> bool:
        """Whether one part can be used now."""
        return self._parts[name].answers()

    def stop(self, name: str) -> None:
        """Stop one part gracefully."""
        self._parts[name].process.stop()

    def kill(self, name: str) -> None:
        """SIGKILL one part."""
        self._parts[name].process.kill()

    def pause(self, name: str) -> None:
        """SIGSTOP one part: alive, but deaf."""
        self._parts[name].process.pause()

    def resume(self, name: str) -> None:
        """SIGCONT one part."""
        self._parts[name].process.resume()

    def pid(self, name: str) -> int | None:
        """The process id of a part, None while it does not run."""
        return self._parts[name].process.pid

    def alive(self, name: str) -> bool:
        """Whether the part's process runs."""
        return self._parts[name].process.alive

    def log(self, name: str) -> Path:
        """Where the part logs to."""
        return self._parts[name].process.log

    def check(self) -> None:
        """Raises PartFailed with name and last log lines if a part is not running."""
        for part in self._parts.values():
            if not part.process.alive:
                raise part.process.failure(f"died (exit code {part.process.exit_code})")

    def audit(self) -> str:
        """What the services' own programs find wrong in their books, while all of it is up; empty if nothing is."""
        found = []
        for service in AUDITED:
            done = subprocess.run(
                [sys.executable, "-m", f"{service}.invariants"],
                env=settings(self.around, service, service),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                found.append(f"{service}.invariants ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return "\n".join(found)

    def describe(self, api_key: str) -> dict[str, Any]:
        """Where everything is; also written to `stack.json`, readable for the owner only, until `down`."""
        url = self.around.url
        description = {
            "gateway_url": url("gateway"),
            "api_key": api_key,
            "admin_token": self.around.secrets.of("admin_token"),
            "kafka_bootstrap": self.around.kafka_bootstrap,
            "postgres_dsn": self.around.postgres.dsn(DATABASE),
            "mail_url": url("mail"),
            "webhook_url": url("webhooks"),
            "provider_url": url("provider"),
            "services": {
                name: {"url": url(name), "metrics_url": f"{url(f'{name}-ops')}/metrics"} for name in self._services
            },
        }
        self.description_file.touch(mode=0o600)
        self.description_file.write_text(json.dumps(description, indent=2) + "\n")
        return description

    def _build(self, plan: Plan) -> Surroundings:
        ports = KeptPorts(self.folder)
        services = {*SERVICES, *self._services}  # the settings of one name the URLs of the others
        for name in ("smtp", *_SINKS, *services, *(f"{name}-ops" for name in services), *map(door, plan.doors)):
            ports.of(name)
        postgres, bootstrap = self._build_servers(plan)
        around = Surroundings(self.folder, bootstrap, postgres, plan.settings, plan.upstream, plan.doors)
        self._parts["provider"] = provider_part(self.folder, around.port("provider"))
        self._parts["mail"] = mail_part(self.folder, around.port("mail"), around.port("smtp"))
        self._parts["webhooks"] = webhooks_part(self.folder, around.port("webhooks"))
        for name, service in self._services.items():
            self._parts[name] = service_part(around, name, service)
        return around

    def _build_servers(self, plan: Plan) -> tuple[GivenPostgres, str]:
        bootstrap = plan.kafka_bootstrap
        if bootstrap is None:
            advertised = KeptPorts(self.folder).noted(door("kafka")) if "kafka" in plan.doors else None
            self._parts["kafka"] = broker = Kafka(self.folder, advertised=advertised)
            bootstrap = broker.bootstrap
        if plan.postgres_dsn is not None:
            return GivenPostgres(plan.postgres_dsn), bootstrap
        self._parts["postgres"] = server = Postgres(self.folder, settings=plan.postgres_settings)
        return server, bootstrap

    def _spawn(self, names: Iterable[str]) -> None:
        for part in self._running_here(names):
            part.spawn()

    def _wait_ready(self, names: Iterable[str]) -> None:
        for part in self._running_here(names):
            part.wait_ready()

    def _running_here(self, names: Iterable[str]) -> list[Part]:
        """The parts of those names, without servers that run elsewhere."""
        return [self._parts[name] for name in names if name in self._parts or name not in _SERVERS]

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._say(f"{what}: {time.monotonic() - started:.1f} s")


_RANKS = 4


def _rank(name: str) -> int:
    """When a part is stopped: the lower the sooner."""
    if name in _SERVERS:
        return 3
    if name in _SINKS:
        return 2
    return 0 if name.startswith("gateway") else 1


def stop_stack(folder: Path, within_s: float = 90.0) -> bool:
    """Stop the stack that another process runs on this folder, or its parts if that process was killed.

    Returns whether anything ran.
    """
    supervised = end_noted(_lock_file(folder), within_s)
    description_file(folder).unlink(missing_ok=True)
    return _end_leftovers(folder) or supervised


def is_up(folder: Path, supervisor_pid: int) -> bool:
    """Whether that process has brought up the stack of this folder."""
    holder = noted(_lock_file(folder))
    return holder is not None and holder.pid == supervisor_pid and description_file(folder).exists()


def description_file(folder: Path) -> Path:
    """`stack.json`: where everything is, for programs; there while the stack is up."""
    return folder / "stack.json"


def _lock_file(folder: Path) -> Path:
    return folder / "run" / "supervisor"


def _take(folder: Path) -> IO[str]:
    """Lock the folder for the life of this process; the lock file says who has it."""
    _lock_file(folder).parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_file(folder).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StackRunning(f"Farebox runs already on {folder}: `make down` stops it.") from None
    description_file(folder).unlink(missing_ok=True)  # of one that was killed
    lock.truncate(0)
    lock.write(note_of(os.getpid()))
    lock.flush()
    return lock


def _end_leftovers(folder: Path) -> bool:
    notes = sorted((folder / "run").glob("*.pid"), key=lambda note: _rank(note.stem))
    ended = [end_leftover(note) for note in notes]
    return any(ended)


async def _prepare_database(around: Surroundings) -> None:
    """A role and a schema for each service, up to date: what `python -m <service> --migrate` does, in one process."""
    admin = around.postgres.dsn()
    await create_database(admin, DATABASE)
    for service in SERVICES_WITH_TABLES:
        role = role_of(service)
        password = around.secrets.of(role)
        await create_role(admin, role, service, password)
        await create_schema(around.postgres.dsn(DATABASE), service, role)
        try:
            await migrate(around.postgres.dsn(DATABASE, role, password), schema=service, package=service)
        except MigrationFailed as error:
            raise PartFailed(service, f"its migrations failed: {error}") from error
