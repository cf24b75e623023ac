"""`python -m metering.invariants`: hold ledger, suspense and rollups against each other and what was announced."""

from collections.abc import Mapping, Sequence
from typing import Final

from farebox import outbox, topics
from farebox.events import Undecodable, UsagePriced, decode
from farebox.invariants import Broken, main, read_through
from farebox.kafka import Record
from farebox.postgres import Connection, Pool, Queries, session
from metering.settings import Settings

QUERIES: Final = Queries.load("metering")


async def against_the_topic(settings: Settings, pool: Pool) -> Sequence[Broken]:
    """Raises Transient while Kafka is away."""
    return [await entries_are_announced(settings.kafka_bootstrap, pool)]


async def entries_are_announced(bootstrap: str, pool: Pool) -> Broken:
    """Of every entry whose time is still on `usage.priced`."""
    topic = topics.USAGE_PRICED.name
    async with session(pool) as connection, connection.transaction(isolation="repeatable_read"):
        await connection.execute(QUERIES["audit_begin"])
        waiting = await outbox.waiting(connection, topic)
        await _note(connection, [(dict(message.headers), message.value) for message in waiting])

        async def note(records: Sequence[Record]) -> None:
            await _note(connection, [(record.headers, record.value) for record in records])

        reach = await read_through(bootstrap, topic, client_id="metering-invariants", handle=note)
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
