"""`python -m metering.invariants`: hold ledger, suspense and rollups against each other and what was announced."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from farebox import outbox, topics
from farebox.clock import SystemClock
from farebox.events import RequestCompleted, Undecodable, UsagePriced, decode
from farebox.invariants import LAG, Broken, find_lost, instant_of, main, read_through
from farebox.kafka import Record
from farebox.kafka.dead import SUFFIX
from farebox.postgres import Connection, Pool, Queries, session
from metering.attempt import NotBookable, Window, examine
from metering.settings import Settings

QUERIES: Final = Queries.load("metering")
_CLIENT: Final = "metering-invariants"


async def against_the_topic(settings: Settings, pool: Pool) -> Sequence[Broken]:
    """Raises Transient while Kafka is away."""
    bootstrap, retention = settings.kafka_bootstrap, timedelta(days=settings.retention_days)
    return [
        await entries_are_announced(bootstrap, pool),
        await attempts_are_booked(bootstrap, pool, retention),
        await dead_letters_are_bad(bootstrap, pool, retention),
    ]


async def attempts_are_booked(
    bootstrap: str,
    pool: Pool,
    retention: timedelta,
    topic: str = topics.REQUEST_COMPLETED.name,
    *,
    lag: timedelta = LAG,
) -> Broken:
    """Of every attempt that has been on `request.completed` for `lag`."""
    until, judge = SystemClock().now() - lag, partial(_unbooked, pool, retention)
    lost = await find_lost(bootstrap, topic, client_id=_CLIENT, judge=judge, until=until)
    sentence = "Every attempt on request.completed is in the ledger, or waits for its price."
    return Broken("attempts_are_booked", sentence, lost)


async def dead_letters_are_bad(
    bootstrap: str, pool: Pool, retention: timedelta, topic: str = topics.REQUEST_COMPLETED.name
) -> Broken:
    """`python -m farebox.kafka.requeue` puts back what is found here."""
    judge = partial(_unbooked, pool, retention)
    lost = await find_lost(bootstrap, topic + SUFFIX, client_id=_CLIENT, judge=judge)
    sentence = "No dead letter of request.completed is an attempt that the ledger can take and does not have."
    return Broken("dead_letters_are_bad", sentence, lost)


async def _unbooked(
    pool: Pool, retention: timedelta, records: Sequence[Record]
) -> dict[UUID, tuple[Record, Mapping[str, Any]]]:
    attempts = {attempt.attempt_id: (record, attempt) for record in records if (attempt := _attempt(record, retention))}
    async with session(pool) as connection:
        unbooked = await connection.fetch(QUERIES["audit_unbooked"], list(attempts))
    return {id_: (attempts[id_][0], _shown(attempts[id_][1])) for (id_,) in unbooked}


def _attempt(record: Record, retention: timedelta) -> RequestCompleted | None:
    """None for what the ledger could not take when it was written."""
    try:
        envelope = decode(headers=record.headers, value=record.value)
    except Undecodable:
        return None
    examined = examine(envelope, record.value or b"", Window.at(instant_of(record), retention, lead=timedelta(0)))
    return None if isinstance(examined, NotBookable) else examined.event


def _shown(attempt: RequestCompleted) -> Mapping[str, Any]:
    return {"attempt_id": attempt.attempt_id, "request_id": attempt.request_id, "model": attempt.served_model}


async def entries_are_announced(bootstrap: str, pool: Pool) -> Broken:
    """Of every entry whose time is still on `usage.priced`."""
    topic = topics.USAGE_PRICED.name
    async with session(pool) as connection, connection.transaction(isolation="repeatable_read"):
        await connection.execute(QUERIES["audit_begin"])
        waiting = await outbox.waiting(connection, topic)
        await _note(connection, [(dict(message.headers), message.value) for message in waiting])

        async def note(records: Sequence[Record]) -> None:
            await _note(connection, [(record.headers, record.value) for record in records])

        reach = await read_through(bootstrap, topic, client_id=_CLIENT, handle=note)
        missing = [dict(row) for row in await connection.fetch(QUERIES["audit_unannounced"], reach.since)]
    sentence = "Every entry is announced with its amount, in the outbox or on usage.priced."
    return Broken("entries_are_announced", sentence, missing)


async def _note(connection: Connection, records: Sequence[tuple[Mapping[str, bytes | None], bytes | None]]) -> None:
    told: dict[str, int] = {}
    for headers, value in records:
        try:
            event = decode(headers={name: text or b"" for name, text in headers.items()}, value=value).event
        except Undecodable:
            continue
        if isinstance(event, UsagePriced) and event.billed_nano is not None:
            told[str(event.entry_id)] = event.billed_nano
    await connection.execute(QUERIES["audit_announced"], list(told), list(told.values()))


if __name__ == "__main__":
    main("metering", Settings, QUERIES, against_the_topic)
