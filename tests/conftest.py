"""What tests of every kind may ask for. The servers start when the first test wants one."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from farebox.postgres import migrate
from farebox_local.databases import create_database, create_role, create_schema, drop_database, role_of
from farebox_local.kafka import Kafka
from farebox_local.postgres import GivenPostgres, Postgres

T = TypeVar("T")

# No test is judged by its time: the machine is shared. A failure prints what reproduces it.
hypothesis.settings.register_profile("farebox", deadline=None, print_blob=True)
hypothesis.settings.load_profile("farebox")

# Nothing here outlives the run, so the disk need not be waited for; a SIGKILL loses nothing either way.
_HASTY = {"fsync": "off", "full_page_writes": "off"}
ROLE_PASSWORD = "of-the-test-roles"


def pytest_configure(config: pytest.Config) -> None:
    """Under pytest-xdist the servers are started here, once, and the workers are told where they are."""
    if not config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        return
    running = contextlib.ExitStack()
    config.add_cleanup(running.close)
    folder = running.enter_context(_folder())
    if "FAREBOX_KAFKA_BOOTSTRAP" not in os.environ:
        os.environ["FAREBOX_KAFKA_BOOTSTRAP"] = running.enter_context(_broker(folder)).bootstrap
    if "FAREBOX_POSTGRES_DSN" not in os.environ:
        os.environ["FAREBOX_POSTGRES_DSN"] = running.enter_context(_server(folder)).dsn()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under pytest-xdist a file stays on one worker, and so does everything that wants the run's whole stack."""
    for item in items:
        folder = item.path.parent.name
        shares_the_stack = folder == "e2e" and "stack" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("e2e" if shares_the_stack else f"{folder}/{item.path.stem}"))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # Not pytest's: PostgreSQL may run as another user and must get in.
    folder = Path(tempfile.mkdtemp(prefix="farebox-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _broker(folder: Path) -> Iterator[Kafka]:
    broker = Kafka(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder, settings=_HASTY)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder for servers' data."""
    with _folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def kafka(server_folder: Path) -> Iterator[str]:
    """The bootstrap address of the run's broker; FAREBOX_KAFKA_BOOTSTRAP names one that runs already."""
    if given := os.environ.get("FAREBOX_KAFKA_BOOTSTRAP"):
        yield given
        return
    with _broker(server_folder) as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[GivenPostgres]:
    """The run's PostgreSQL server; FAREBOX_POSTGRES_DSN names one that runs already (as its administrator)."""
    if given := os.environ.get("FAREBOX_POSTGRES_DSN"):
        yield GivenPostgres(given)
        return
    with _server(server_folder) as server:
        yield server


class DatabaseFactory:
    """Makes a database with a service's schema, empty but for what its migrations put there.

    The migrations run once a run, into a template; a test gets a copy (`CREATE DATABASE … TEMPLATE`).
    """

    def __init__(self, server: GivenPostgres) -> None:
        self._server = server
        self._templates: dict[str, str] = {}

    def create(self, service: str) -> str:
        """The DSN, as the service's role, of a new copy of the service's database."""
        name = f"{service}_{uuid.uuid4().hex[:12]}"
        run_apart(create_database(self._server.dsn(), name, self._template(service)))
        return self._server.dsn(name, role_of(service), ROLE_PASSWORD)

    def drop(self, dsn: str) -> None:
        """Drop what `create` made."""
        run_apart(drop_database(self._server.dsn(), dsn.rpartition("/")[2].partition("?")[0]))

    def drop_templates(self) -> None:
        """At the end of the run: a server that was given keeps nothing of it."""
        for name in self._templates.values():
            run_apart(drop_database(self._server.dsn(), name))

    def _template(self, service: str) -> str:
        if service not in self._templates:
            name = f"template_{service}_{uuid.uuid4().hex[:12]}"
            run_apart(self._build(service, name))
            self._templates[service] = name
        return self._templates[service]

    async def _build(self, service: str, name: str) -> None:
        role = role_of(service)
        await create_role(self._server.dsn(), role, service, ROLE_PASSWORD)
        await create_database(self._server.dsn(), name)
        await create_schema(self._server.dsn(name), service, role)
        await migrate(self._server.dsn(name, role, ROLE_PASSWORD), schema=service, package=service)


@pytest.fixture(scope="session")
def _databases(postgres: GivenPostgres) -> Iterator[DatabaseFactory]:
    factory = DatabaseFactory(postgres)
    yield factory
    factory.drop_templates()


@pytest.fixture
def database(_databases: DatabaseFactory) -> Iterator[Callable[[str], str]]:
    """`database("budget")` is the DSN of a migrated database of this test's own."""
    with contextlib.ExitStack() as made:

        def create(service: str) -> str:
            dsn = _databases.create(service)
            made.callback(_databases.drop, dsn)
            return dsn

        yield create


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a thread of its own, so that fixtures may be plain functions."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
