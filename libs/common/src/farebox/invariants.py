"""What must always be true of a service's tables: one statement a sentence, in `queries.sql`.

    -- name: invariant_escrow_is_held
    -- A window's escrow is what leases hold in it.
    SELECT … rows for which that is not so, with $1 as the instant since when rows are looked at …

`python -m <service>.invariants` looks at everything and ends with 1, printing the rows, if a sentence is broken. A
service at work looks at what is recent, every minute, and shows how many rows it found.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import Gauge

from farebox.clock import Clock
from farebox.errors import FareboxError, Invalid, Transient
from farebox.kafka import Broadcast, Record
from farebox.kafka.dead import REASON
from farebox.postgres import Pool, open_pool, session
from farebox.recurring import Recurring
from farebox.settings import StoreSettings

log = structlog.get_logger()

PREFIX: Final = "invariant_"
EVERY_S: Final = 60.0
READ_WITHIN_S: Final = 3_600.0
RECENT: Final = timedelta(hours=2)
SHOWN_MAX: Final = 20
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

SettingsT = TypeVar("SettingsT", bound=StoreSettings)
More = Callable[[SettingsT, Pool], Awaitable[Sequence["Broken"]]]
"""Sentences that are not about tables alone."""
Judge = Callable[[Sequence[Record]], Awaitable[Mapping[Any, tuple[Record, Mapping[str, Any]]]]]
"""Of some records those that are lost, by the id of what they tell of, with a row to show."""

LAG: Final = timedelta(minutes=1)
"""What has been on a topic for so long has been consumed, unless it is lost or nobody consumes."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A sentence and the rows that break it; none if it holds."""

    name: str
    sentence: str
    rows: Sequence[Mapping[str, Any]]


async def look(pool: Pool, queries: Mapping[str, str], since: datetime | None = None) -> list[Broken]:
    """Ask every statement, all of them of the same instant. Raises Transient while the database is away."""
    found = []
    async with session(pool) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        for name in sorted(queries):
            if name.startswith(PREFIX):
                rows = await connection.fetch(queries[name], since or _BEGINNING)
                found.append(Broken(name.removeprefix(PREFIX), _sentence(queries[name]), [dict(row) for row in rows]))
    return found


def watched(pool: Pool, queries: Mapping[str, str], gauge: Gauge, clock: Clock) -> Recurring:
    """The look at what is recent; `gauge` has one label, the sentence's name."""

    async def measure() -> None:
        for broken in await look(pool, queries, clock.now() - RECENT):
            gauge.labels(broken.name).set(len(broken.rows))
            if broken.rows:
                log.error("invariant_broken", invariant=broken.name, sentence=broken.sentence, rows=len(broken.rows))

    return Recurring("invariants", measure, every_s=EVERY_S)


def main(
    service: str,
    settings_type: type[SettingsT],
    queries: Mapping[str, str],
    more: More[SettingsT] | None = None,
) -> None:
    """The command. Exits 1 if a sentence is broken, 2 if nobody can say."""
    argparse.ArgumentParser(
        prog=f"python -m {service}.invariants",
        description="Look at the service's whole database, as the environment of the service names it.",
    ).parse_args()
    try:
        settings = settings_type.read()
        found = asyncio.run(_everything(service, settings, queries, more))
    except Invalid as error:
        _refuse("\n".join(error.problems))
    except FareboxError as error:
        _refuse(str(error))
    for broken in found:
        print("\n".join(_report(broken)))  # noqa: T201 - a command's answer
    if any(broken.rows for broken in found):
        raise SystemExit(1)


class Reach:
    """Since when a topic still has every record. Kafka deletes the oldest of each partition when their time is over."""

    def __init__(self) -> None:
        self.since = _BEGINNING
        self._partitions: set[int] = set()

    def note(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.partition not in self._partitions:
                self._partitions.add(record.partition)
                if record.offset > 0:
                    self.since = max(self.since, instant_of(record))


async def read_through(
    bootstrap: str, topic: str, *, client_id: str, handle: Callable[[Sequence[Record]], Awaitable[None]]
) -> Reach:
    """Hand over every record a topic has now, some perhaps twice. Raises what `handle` raises, and Transient if Kafka
    does not give them within READ_WITHIN_S."""
    reach = Reach()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def taken(records: Sequence[Record]) -> None:
        try:
            reach.note(records)
            if not failed.done():
                await handle(records)
        except Exception as error:  # noqa: BLE001 - a reader of broadcasts goes on whatever happens; this one must not
            failed.set_exception(error)

    async with Broadcast(bootstrap, topic, client_id=client_id, handle=taken) as reading:
        done = asyncio.create_task(reading.caught_up.wait())
        try:
            await asyncio.wait((done, failed), timeout=READ_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            done.cancel()
    if failed.done():
        failed.result()
    if not reading.caught_up.is_set():
        raise Transient(f"{topic} could not be read within {READ_WITHIN_S:.0f} s")
    return reach


async def find_lost(
    bootstrap: str, topic: str, *, client_id: str, judge: Judge, until: datetime | None = None
) -> list[Mapping[str, Any]]:
    """The rows that `judge` has of a topic's records, of those that were there by `until`, each with its place.

    Raises Transient while Kafka is away.
    """
    found: dict[Any, Mapping[str, Any]] = {}

    async def note(records: Sequence[Record]) -> None:
        old = [record for record in records if until is None or instant_of(record) <= until]
        for key, (record, row) in (await judge(old)).items():
            found[key] = {**row, **_place(record)}

    await read_through(bootstrap, topic, client_id=client_id, handle=note)
    return list(found.values())


def instant_of(record: Record) -> datetime:
    """When it was written to its topic."""
    return datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)


def _place(record: Record) -> Mapping[str, Any]:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    reason = record.headers.get(REASON)
    return place if reason is None else {**place, "reason": reason.decode(errors="replace")}


def _refuse(why: str) -> None:
    print(why, file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


async def _everything(
    service: str, settings: SettingsT, queries: Mapping[str, str], more: More[SettingsT] | None
) -> list[Broken]:
    pool = await open_pool(settings.postgres_dsn.get_secret_value(), schema=service, size=2)
    try:
        found = await look(pool, queries)
        return [*found, *(await more(settings, pool) if more else ())]
    finally:
        await pool.close()


def _sentence(sql: str) -> str:
    """The comment at the head of a statement."""
    head = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        head.append(line.removeprefix("--").strip())
    return " ".join(head)


def _report(broken: Broken) -> list[str]:
    if not broken.rows:
        return [f"holds   {broken.name}: {broken.sentence}"]
    shown = [
        f"        {', '.join(f'{name}={value}' for name, value in row.items())}" for row in broken.rows[:SHOWN_MAX]
    ]
    hidden = len(broken.rows) - len(shown)
    return [
        f"BROKEN  {broken.name}: {broken.sentence}",
        *shown,
        *([f"        … and {hidden} more"] if hidden else []),
    ]
