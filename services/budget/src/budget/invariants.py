"""`python -m budget.invariants`: hold windows, leases and marks against each other, the ledger and the events."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from budget.posting.audit import Audit
from budget.settings import BudgetSettings
from budget.store import QUERIES, Store
from farebox import outbox, topics
from farebox.clock import SystemClock
from farebox.invariants import Broken, main, read_through
from farebox.kafka import Message, Record
from farebox.postgres import Pool, session

RETAINED: Final = timedelta(days=80)
"""Events are on the topic for 90 days."""
_CLIENT: Final = "budget-invariants"


async def against_the_topics(settings: BudgetSettings, pool: Pool) -> Sequence[Broken]:
    """Raises Transient while Kafka is away."""
    bootstrap = settings.kafka_bootstrap
    return [await postings_are_the_ledger(bootstrap, pool), await crossings_have_their_events(bootstrap, pool)]


async def postings_are_the_ledger(bootstrap: str, pool: Pool) -> Broken:
    """Of every window whose whole time is on `usage.priced`."""
    async with Store(pool).audit() as unit:
        windows = await unit.books.audit_windows()
        audit = Audit(unit, windows)
        reach = await read_through(bootstrap, topics.USAGE_PRICED.name, client_id=_CLIENT, handle=audit.note)
    sentence = "What is posted in a window is the sum of the ledger's entries for it, as usage.priced has them."
    return Broken("postings_are_the_ledger", sentence, audit.broken(reach.since))


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
