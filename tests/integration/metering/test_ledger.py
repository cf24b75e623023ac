"""The ledger is append-only, and the rollups are its sums."""

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from farebox.pricing import Usage
from support.attempts import ALICE, BOB, KRW, USD, VND, attempt, id_made_at
from support.books import Books

MOVED = """
INSERT INTO entry
SELECT (jsonb_populate_record(e, jsonb_build_object('made_at', now()))).* FROM entry e
"""
# Each of these lists the sums in which the rollup and the ledger differ.
HOURS = """
WITH rolled AS (
    SELECT
        hour AS at, org, team, user_id, key_id, feature, provider, model, currency, sum(attempts), sum(cost_nano_usd),
        sum(billed_nano)
    FROM usage_hour JOIN dimension USING (dimension_id) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
), booked AS (
    SELECT
        date_trunc('hour', occurred_at, 'UTC'), org, team, user_id, key_id, feature, provider, model, currency,
        count(*), sum(cost_nano_usd), sum(amount_nano)
    FROM ledger GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
)
(TABLE rolled EXCEPT TABLE booked) UNION ALL (TABLE booked EXCEPT TABLE rolled)
"""
DAYS = """
WITH rolled AS (
    SELECT
        day, org, team, user_id, key_id, feature, provider, model, currency, sum(attempts), sum(cost_nano_usd),
        sum(billed_nano)
    FROM usage_day JOIN dimension USING (dimension_id) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
), booked AS (
    SELECT
        (occurred_at AT TIME ZONE 'UTC')::date, org, team, user_id, key_id, feature, provider, model, currency,
        count(*), sum(cost_nano_usd), sum(amount_nano)
    FROM ledger GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
)
(TABLE rolled EXCEPT TABLE booked) UNION ALL (TABLE booked EXCEPT TABLE rolled)
"""
SESSIONS = """
WITH rolled AS (
    SELECT
        hour, session, model, currency, sum(attempts), sum(requests), sum(succeeded), sum(cache_hits), sum(simple),
        sum(complex), sum(input_tokens), sum(output_tokens)
    FROM usage_hour JOIN dimension USING (dimension_id) GROUP BY 1, 2, 3, 4
), booked AS (
    SELECT
        date_trunc('hour', occurred_at, 'UTC'), coalesce(session, ''), model, currency, count(*),
        count(*) FILTER (WHERE attempt_number = 1), count(*) FILTER (WHERE outcome = 'success'),
        count(*) FILTER (WHERE cache_hit <> 'none'), count(*) FILTER (WHERE complexity = 'simple'),
        count(*) FILTER (WHERE complexity = 'complex'), sum(input_tokens), sum(output_tokens)
    FROM ledger GROUP BY 1, 2, 3, 4
)
(TABLE rolled EXCEPT TABLE booked) UNION ALL (TABLE booked EXCEPT TABLE rolled)
"""


@pytest.mark.parametrize("statement", ["UPDATE {} SET amount_nano = 0", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_ledger_refuses_every_change(books: Books, statement: str) -> None:
    await books.send(attempt())
    async with books.replica():
        [entry] = await books.entries(1)
    for table in ("entry", f"entry_{entry['made_at']:%Y_%m}"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await books.fetch(statement.format(table))


async def test_an_entry_cannot_claim_another_instant_than_its_ids(books: Books) -> None:
    await books.send(attempt())
    async with books.replica():
        await books.entries(1)
    with pytest.raises(asyncpg.CheckViolationError, match="instant_is_the_ids"):
        await books.fetch(MOVED)


@pytest.mark.parametrize("seed", [1, 2])
async def test_rollups_are_the_sums_of_the_ledger(books: Books, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - draws test data
    now = datetime.now(UTC)
    events = [
        attempt(
            id_made_at(now - timedelta(hours=chance.randint(0, 72))),
            principal=chance.choice([ALICE, BOB]),
            session=chance.choice([None, "chat-1", "chat-2"]),
            feature=chance.choice([None, "qa_chat", "search"]),
            served_model=chance.choice(["gpt-4o", "gpt-4o-mini", "no-such-model"]),
            billing=chance.choice([USD, VND, KRW]),
            usage=Usage(input=chance.randint(0, 9_000), output=chance.randint(0, 900)),
            attempt=chance.randint(1, 2),
            outcome=chance.choice(["success", "timeout"]),
            cache_hit=chance.choice(["none", "gateway", "caller"]),
            complexity=chance.choice([None, "simple", "medium", "complex"]),
        )
        for _ in range(400)
    ]
    await books.send(*events, *chance.sample(events, 200))
    async with books.replica():
        await books.handled(600)
    for differing in (HOURS, DAYS, SESSIONS):
        assert await books.fetch(differing) == []
    suspended = await books.value("SELECT count(*) FROM suspense")
    assert suspended == len({event.attempt_id for event in events if event.served_model == "no-such-model"})
