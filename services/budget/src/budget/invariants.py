"""`python -m budget.invariants`: hold windows, shares and marks against each other, the ledger and the events."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from budget.posting.audit import Audit, entry_of
from budget.posting.entries import Entry
from budget.settings import BudgetSettings
from budget.store import QUERIES, Store
from farebox import outbox, topics
from farebox.clock import SystemClock
from farebox.invariants import LAG, Broken, find_lost, main, read_through
from farebox.kafka import Message, Record
from farebox.kafka.dead import SUFFIX
from farebox.postgres import Pool, session

RETAINED: Final = timedelta(days=80)
"""Events are on the topic for 90 days."""
_CLIENT: Final = "budget-invariants"


async def against_the_topics(settings: BudgetSettings, pool: Pool) -> Sequence[Broken]:
    """Raises Transient while Kafka is away."""
    bootstrap = settings.kafka_bootstrap
    return [
        await postings_are_the_ledger(bootstrap, pool),
        await entries_are_posted(bootstrap, pool),
        await dead_letters_are_bad(bootstrap, pool),
        await crossings_have_their_events(bootstrap, pool),
    ]


async def postings_are_the_ledger(bootstrap: str, pool: Pool) -> Broken:
    """Of every window whose whole time is on `usage.priced`."""
    async with Store(pool).audit() as unit:
        windows = await unit.books.audit_windows()
        audit = Audit(unit, windows)
        reach = await read_through(bootstrap, topics.USAGE_PRICED.name, client_id=_CLIENT, handle=audit.note)
    sentence = "What is posted in a window is the sum of the ledger's entries for it, as usage.priced has them."
    return Broken("postings_are_the_ledger", sentence, audit.broken(reach.since))


async def entries_are_posted(
    bootstrap: str, pool: Pool, topic: str = topics.USAGE_PRICED.name, *, lag: timedelta = LAG
) -> Broken:
    """Of every entry that has been on `usage.priced` for `lag`."""
    until = SystemClock().now() - lag
    lost = await find_lost(bootstrap, topic, client_id=_CLIENT, judge=partial(_unposted, pool), until=until)
    return Broken("entries_are_posted", "Every entry that was announced on usage.priced is posted.", lost)


async def dead_letters_are_bad(bootstrap: str, pool: Pool, topic: str = topics.USAGE_PRICED.name) -> Broken:
    """`python -m farebox.kafka.requeue` puts back what is found here."""
    lost = await find_lost(bootstrap, topic + SUFFIX, client_id=_CLIENT, judge=partial(_unposted, pool))
    sentence = "No dead letter of usage.priced is an entry that can be read and was never posted."
    return Broken("dead_letters_are_bad", sentence, lost)


async def _unposted(pool: Pool, records: Sequence[Record]) -> dict[UUID, tuple[Record, Mapping[str, Any]]]:
    entries = {entry.entry_id: (record, entry) for record in records if (entry := entry_of(record))}
    async with session(pool) as connection:
        unposted = await connection.fetch(QUERIES["audit_unposted"], list(entries))
    return {id_: (entries[id_][0], _shown(entries[id_][1])) for (id_,) in unposted}


def _shown(entry: Entry) -> Mapping[str, Any]:
    return {"entry_id": entry.entry_id, "billed_nano": entry.billed_nano, "currency": entry.currency}


async def crossings_have_their_events(bootstrap: str, pool: Pool) -> Broken:
    """Every row of `crossing` has its event in the outbox or on the topic."""
    since = SystemClock().now() - RETAINED
    async with session(pool) as connection:
        rows = await connection.fetch(QUERIES["crossings_since"], since)
        told = {_id(message) for message in await outbox.waiting(connection, topics.BUDGET_EVENTS.name)}

    async def note(records: Sequence[Record]) -> None:
        told.update(record.headers.get("ce_id", b"") for record in records)

    await read_through(bootstrap, topics.BUDGET_EVENTS.name, client_id=_CLIENT, handle=note)
    missing = [dict(row) for row in rows if str(row["event_id"]).encode() not in told]
    sentence = "Every mark that was noted has its event, in the outbox or on budget.events."
    return Broken("marks_are_told", sentence, missing)


def _id(message: Message) -> bytes:
    return dict(message.headers).get("ce_id") or b""


if __name__ == "__main__":
    main("budget", BudgetSettings, QUERIES, against_the_topics)
