"""`python -m budget.invariants`: hold windows, leases and marks against each other, and marks against their events."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from budget.settings import BudgetSettings
from budget.store import QUERIES
from farebox import outbox, topics
from farebox.clock import SystemClock
from farebox.errors import Transient
from farebox.invariants import Broken, main
from farebox.kafka import Broadcast, Message, Record
from farebox.postgres import Pool, session

RETAINED: Final = timedelta(days=80)
"""Events are on the topic for 90 days."""
READ_TIMEOUT_S: Final = 120.0


async def crossings_have_their_events(settings: BudgetSettings, pool: Pool) -> Sequence[Broken]:
    """Every row of `crossing` has its event in the outbox or on the topic. Raises Transient while Kafka is away."""
    since = SystemClock().now() - RETAINED
    async with session(pool) as connection:
        rows = await connection.fetch(QUERIES["crossings_since"], since)
        told = {_id(message) for message in await outbox.waiting(connection, topics.BUDGET_EVENTS.name)}
    told |= await _published(settings.kafka_bootstrap)
    missing = [dict(row) for row in rows if str(row["event_id"]).encode() not in told]
    sentence = "Every mark that was noted has its event, in the outbox or on budget.events."
    return [Broken("marks_are_told", sentence, missing)]


async def _published(bootstrap: str) -> set[bytes]:
    """The ids of all events on the topic; what the outbox had is there by now."""
    found: set[bytes] = set()

    async def note(records: Sequence[Record]) -> None:
        found.update(record.headers.get("ce_id", b"") for record in records)

    reading = Broadcast(bootstrap, topics.BUDGET_EVENTS.name, client_id="budget-invariants", handle=note)
    try:
        async with asyncio.timeout(READ_TIMEOUT_S), reading:
            await reading.caught_up.wait()
    except TimeoutError as error:
        raise Transient(f"{topics.BUDGET_EVENTS.name} could not be read within {READ_TIMEOUT_S:.0f} s") from error
    return found


def _id(message: Message) -> bytes:
    return dict(message.headers).get("ce_id") or b""


if __name__ == "__main__":
    main("budget", BudgetSettings, QUERIES, crossings_have_their_events)
