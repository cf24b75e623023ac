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
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as folder, ExitStack() as running:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        bootstrap, dsn = os.environ.get("FAREBOX_KAFKA_BOOTSTRAP"), os.environ.get("FAREBOX_POSTGRES_DSN")
        if not bootstrap:
            broker = Kafka(Path(folder))
            broker.start()
            running.callback(broker.stop)
            bootstrap = broker.bootstrap
        server = GivenPostgres(dsn) if dsn else Postgres(Path(folder))
        if isinstance(server, Postgres):
            server.start()
            running.callback(server.stop)
        yield bootstrap, server
