"""Grants lock their windows in one order. The same two grants, each in an order of its own, deadlock: every time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from budget.shares.operations import Leases
from budget.store import QUERIES, Store, Unit
from budget.store.books import Books
from budget.store.registry import Registry
from farebox.errors import Transient
from farebox.leasing import GrantAnswer
from farebox.postgres import Pool, session, transaction
from support.eventually import eventually
from support.office import BudgetOffice, nothing

COST = 6_000_000
GATED = "SELECT locked.*, pg_advisory_xact_lock_shared(7) FROM (…) AS locked"
SHUT, OPEN = "SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)"
LOCKING = QUERIES["windows_for_update"]
OTHER_WAY_ROUND = LOCKING.replace("ORDER BY w.budget_id, w.window_start", "ORDER BY w.budget_id DESC")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class GatedStore(Store):
    """Locks windows by a query of the test's own, and stops at the gate after each row that it has locked."""

    def __init__(self, pool: Pool, locking: str) -> None:
        super().__init__(pool)
        self._queries = {**QUERIES, "windows_for_update": GATED.replace("…", locking.rstrip(";"))}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unit]:
        async with transaction(self._pool) as connection:
            yield Unit(Registry(connection, QUERIES), Books(connection, self._queries), connection)


async def two_at_once(office: BudgetOffice, *locking: str) -> list[GrantAnswer | BaseException]:
    """A grant by each query; their paths cross in two windows. They go on when both wait: at the gate, or for a row."""
    await office.org()
    await office.admin.post("/api/accounts", json={"id": "lan", "kind": "user", "parent": "core", "name": "Lan"})
    keys = [await office.key(user) for user in ("minh", "lan")]
    for account in ("acme", "minh", "lan", "core"):  # ids rise: the two that both need are first and last
        await office.budget("800", account=account)
    await office.start()
    for key in keys:  # after that the windows are there
        await office.grant(key, COST)
    replicas = [Leases(GatedStore(office.pool, sql), office.clock, nothing) for sql in locking]
    async with session(office.pool) as keeper:
        await keeper.execute(SHUT)
        grants = [office.grant(key, COST, by=replica) for key, replica in zip(keys, replicas, strict=True)]
        answers = asyncio.gather(*grants, return_exceptions=True)

        async def both_wait() -> bool:
            return bool(await office.pool.fetchval(WAITING) == len(grants))

        await eventually(both_wait)
        await keeper.execute(OPEN)
        return list(await answers)


async def test_grants_that_lock_in_one_order_wait_for_each_other(office: BudgetOffice) -> None:
    answers = await two_at_once(office, LOCKING, LOCKING)
    assert all(isinstance(answer, GrantAnswer) and answer.lease for answer in answers), answers
    assert (await office.balance())["held"] == "31.2"


async def test_grants_that_lock_in_their_own_order_deadlock(office: BudgetOffice) -> None:
    assert OTHER_WAY_ROUND != LOCKING
    answers = await two_at_once(office, LOCKING, OTHER_WAY_ROUND)
    (failed,) = [answer for answer in answers if isinstance(answer, Transient)]
    assert isinstance(failed.__cause__, asyncpg.DeadlockDetectedError)
    assert (await office.balance())["held"] == "23.4", "the one that was not ended is granted"
