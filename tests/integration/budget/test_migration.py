"""Books of the version before, which kept leases, become books of shares, and what leases held stays held."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from farebox.events import LeaseUse, Principal
from farebox.postgres import migrate
from support.budget_service import BudgetService, open_budget_service

BUDGET = UUID(int=1)
LIVE, OVERSPENT, CLOSED, LOST, UNPOSTED = (UUID(int=number) for number in range(11, 16))
OLD = ("0001_budget.sql", "0002_audited.sql")
EMPTY = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I CASCADE', name);
    END LOOP;
    DROP FUNCTION leases_are_over;
END
$$
"""
BOOKS = """
INSERT INTO account (account_id, kind, parent_id, path, name, currency) VALUES
    ('acme', 'org', 'platform', '{platform,acme}', 'Acme', 'KRW'),
    ('key', 'key', 'acme', '{platform,acme,key}', 'Laptop', NULL);
INSERT INTO budget (budget_id, account_id, name, measure, currency, window_kind, zone, limit_amount, mode, thresholds,
                    narrowed_to, created_at)
VALUES ('00000000-0000-0000-0000-000000000001', 'acme', 'all', 'money', 'KRW', 'lifetime', 'UTC', {limit}, 'hard', '[]',
        '{}', '2026-01-01');
INSERT INTO budget_window (budget_id, window_start, is_hard, limit_amount, limit_revision, posted, escrowed, suspended)
VALUES ('00000000-0000-0000-0000-000000000001', '1970-01-01Z', true, {limit}, 1, 30, 50, 6);
INSERT INTO gateway VALUES ('gw', 2, now()), ('lost', 1, now());
"""
LEASES = [  # gateway, epoch, suspended; granted, posted, returned, spent
    (LIVE, "gw", 2, None, 50, 10, 5, 12),
    (OVERSPENT, "gw", 2, None, 10, 15, 0, 15),
    (CLOSED, "gw", 1, None, 20, 3, 12, 8),
    (LOST, "lost", 1, datetime(2026, 3, 1, tzinfo=UTC), 8, 2, 0, 2),
    (UNPOSTED, "gw", 2, None, 10, 0, 0, 14),
]


async def old_books(dsn: str, limit: int) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "budget"})
    await connection.execute(EMPTY)
    await connection.execute("CREATE TABLE migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())")
    for name in OLD:
        await connection.execute((files("budget") / "migrations" / name).read_text("utf-8"))
        await connection.execute("INSERT INTO migration (name) VALUES ($1)", f"budget/{name}")
    await connection.execute(BOOKS.replace("{limit}", str(limit)))
    for lease_id, gateway, epoch, suspended_at, *amounts in LEASES:
        await connection.execute(
            "INSERT INTO lease (lease_id, gateway_id, epoch, key_id, granted_at, suspended_at)"
            " VALUES ($1, $2, $3, 'key', '2026-03-01', $4)",
            *(lease_id, gateway, epoch, suspended_at),
        )
        await connection.execute(
            "INSERT INTO lease_share (lease_id, budget_id, window_start, granted, posted, returned, spent)"
            " VALUES ($1, $2, '1970-01-01Z', $3, $4, $5, $6)",
            *(lease_id, BUDGET, *amounts),
        )
    await connection.close()


@pytest.fixture
def old_dsn(database: Callable[[str], str]) -> str:
    return database("budget")


@pytest.fixture
async def service(old_dsn: str) -> AsyncIterator[BudgetService]:
    """On books of the version before, migrated."""
    await old_books(old_dsn, limit=100)
    await migrate(old_dsn, schema="budget", package="budget")
    async with open_budget_service(old_dsn) as service:
        yield service


async def window(service: BudgetService) -> tuple[Any, ...]:
    (row,) = await service.pool.fetch("SELECT posted, escrowed, suspended, is_over FROM budget_window")
    return tuple(row)


async def test_what_leases_held_their_shares_hold(service: BudgetService) -> None:
    rows = await service.pool.fetch("SELECT gateway_id, epoch, is_final, suspended_at IS NOT NULL FROM budget_share")
    assert sorted(map(tuple, rows)) == [("gw", 1, True, False), ("gw", 2, False, False), ("lost", 1, False, True)]
    assert await window(service) == (30, 35 + 5 + 14, 6, False)
    assert await service.broken() == set()


async def test_what_was_spent_above_a_lease_may_put_the_window_over(old_dsn: str) -> None:
    await old_books(old_dsn, limit=86)
    await migrate(old_dsn, schema="budget", package="budget")
    async with open_budget_service(old_dsn) as service:
        assert await window(service) == (30, 54, 6, True)
        assert await service.broken() == set()


@pytest.mark.parametrize(
    ("lease", "after"),
    [(LIVE, (35, 49, 6, False)), (CLOSED, (35, 49, 6, False)), (LOST, (35, 54, 1, False))],
)
async def test_an_event_that_names_a_lease_posts_to_its_share(
    service: BudgetService, lease: UUID, after: tuple[int, int, int, bool]
) -> None:
    use = LeaseUse(lease_id=lease, reserve_nano=5)
    principal = Principal(org="acme", key="key")
    await service.post(service.priced({"key_id": "key"}, 5, lease=use, principal=principal))
    assert await window(service) == after
    assert await service.broken() == set()


async def test_the_gateway_goes_on_under_its_next_epoch_and_ends_what_its_leases_held(service: BudgetService) -> None:
    key = (BUDGET, datetime(1970, 1, 1, tzinfo=UTC))
    assert await service.start("gw", last_epoch=2, spent={key: 10 + 15 + 2 + 14}) == 3
    assert await window(service) == (30, 5 + 16, 6, False)
    assert await service.broken() == set()


async def test_a_replica_of_the_version_before_can_grant_no_lease_any_more(service: BudgetService) -> None:
    with pytest.raises(asyncpg.SerializationError, match="leases are over"):
        await service.pool.execute("UPDATE lease_share SET granted = granted + 1")


async def test_budgets_of_before_count_and_are_guaranteed_from_their_making(service: BudgetService) -> None:
    (budget,) = (await service.admin.get("/api/budgets")).json()["items"]
    assert (budget["counts_from"], budget["hard_since"]) == ("2026-01-01T00:00:00+00:00",) * 2


async def test_leases_are_forgotten_after_a_month(service: BudgetService) -> None:
    await service.pool.execute("ALTER TABLE lease DISABLE TRIGGER leases_are_over")
    await service.pool.execute("UPDATE lease SET granted_at = '2026-01-30' WHERE lease_id = $1", LIVE)
    await service.shares.forget()
    assert await service.pool.fetchval("SELECT count(*) FROM lease") == len(LEASES) - 1
