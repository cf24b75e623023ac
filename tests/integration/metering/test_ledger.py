"""The ledger is append-only, and the rollups are its sums."""

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from farebox.errors import Transient
from farebox.ids import instant_of
from farebox.pricing import Usage
from support.attempts import ALICE, BOB, KRW, USD, VND, attempt, id_made_at
from support.metering_service import MeteringService

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
async def test_the_ledger_refuses_every_change(service: MeteringService, statement: str) -> None:
    [entry_id] = (await service.post(attempt())).entries
    for table in ("entry", f"entry_{instant_of(entry_id):%Y_%m}"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await service.fetch(statement.format(table))


async def test_an_entry_cannot_claim_another_instant_than_its_ids(service: MeteringService) -> None:
    await service.post(attempt())
    with pytest.raises(asyncpg.CheckViolationError, match="instant_is_the_ids"):
        await service.fetch(MOVED)


@pytest.mark.parametrize("seed", [1, 2])
async def test_rollups_are_the_sums_of_the_ledger(service: MeteringService, seed: int) -> None:
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
    for start in range(0, 400, 100):
        await service.post(*events[start : start + 100], *chance.sample(events, 50))
    for differing in (HOURS, DAYS, SESSIONS):
        assert await service.fetch(differing) == []
    assert len(await service.fetch("SELECT FROM suspense")) == len(
        {event.attempt_id for event in events if event.served_model == "no-such-model"}
    )


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("ALTER TABLE entry RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO entry"),
        ("ALTER TABLE usage_day DROP COLUMN simple", "ALTER TABLE usage_day ADD simple bigint NOT NULL"),
        (
            "INSERT INTO price_override (id, provider, model, price) VALUES ('x', 'p', 'm', '{}')",
            "DELETE FROM price_override",
        ),
    ],
)
async def test_attempts_wait_for_books_that_are_not_in_order(
    service: MeteringService, broken: str, mended: str
) -> None:
    event = attempt()
    await service.fetch(broken)
    with pytest.raises(Transient):
        await service.post(event)
    await service.fetch(mended)
    assert len((await service.post(event)).entries) == 1


async def test_a_partition_that_is_gone_is_made_again(service: MeteringService) -> None:
    [entry_id] = (await service.post(attempt())).entries
    await service.fetch(f"DROP TABLE entry_{instant_of(entry_id):%Y_%m}")
    with pytest.raises(Transient):
        await service.post(attempt())
    assert len((await service.post(attempt())).entries) == 1
