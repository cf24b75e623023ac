"""The servers a benchmark measures on: an Apache Kafka and a PostgreSQL of its own, or those the environment names."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from farebox_local.kafka import Kafka
from farebox_local.postgres import GivenPostgres, Postgres


@contextmanager
def servers() -> Iterator[tuple[str, GivenPostgres]]:
    """Bootstrap address and database server; FAREBOX_KAFKA_BOOTSTRAP and FAREBOX_POSTGRES_DSN name running ones."""
    with _folder() as folder, ExitStack() as running:
        bootstrap = os.environ.get("FAREBOX_KAFKA_BOOTSTRAP")
        if not bootstrap:
            broker = Kafka(folder)
            broker.start()
            running.callback(broker.stop)
            bootstrap = broker.bootstrap
        yield bootstrap, running.enter_context(postgres())


@contextmanager
def postgres() -> Iterator[GivenPostgres]:
    """The database server alone; FAREBOX_POSTGRES_DSN names a running one."""
    if dsn := os.environ.get("FAREBOX_POSTGRES_DSN"):
        yield GivenPostgres(dsn)
        return
    with _folder() as folder:
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        yield Path(folder)
