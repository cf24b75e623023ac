"""Everybody locks windows in one order. The same two raises, each in an order of its own, deadlock: every time."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg

from budget.errors import Fenced, StillAlive
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.store import QUERIES, Store, Unit
from budget.store.books import Books
from budget.store.registry import Registry
from farebox.errors import NotFound, Transient
from farebox.postgres import Pool, session, transaction
from farebox.shares import Answer, ShareTotal
from support.budget_service import BudgetService, held, nothing, report, total, won
from support.eventually import eventually

COST = 6_000_000
GATED = "SELECT locked.*, pg_advisory_xact_lock_shared(7) FROM (…) AS locked"
SHUT, OPEN = "SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)"
LOCKING = QUERIES["windows_for_update"]
OTHER_WAY_ROUND = LOCKING.replace("ORDER BY w.budget_id, w.window_start", "ORDER BY w.budget_id DESC")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
WORKED = "SELECT count(*) FROM posting"
GATEWAYS = ("gw", "other", "third")


class GatedStore(Store):
    """Locks windows by a query of the test's own, and stops at the gate after each row that it has locked."""

    def __init__(self, pool: Pool, locking: str) -> None:
        super().__init__(pool)
        self._queries = {**QUERIES, "windows_for_update": GATED.replace("…", locking.rstrip(";"))}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unit]:
        async with transaction(self._pool) as connection:
            yield Unit(Registry(connection, QUERIES), Books(connection, self._queries), connection)


async def two_at_once(service: BudgetService, *locking: str) -> list[Answer | BaseException]:
    """A raise by each query; their paths cross in two windows. They go on when both wait: at the gate, or for a row."""
    await service.org()
    await service.admin.post("/api/accounts", json={"id": "lan", "kind": "user", "parent": "core", "name": "Lan"})
    keys = [await service.key(user) for user in ("minh", "lan")]
    for account in ("acme", "minh", "lan", "core"):  # ids rise: the two that both need are first and last
        await service.budget("800", account=account)
    await service.start()
    shares = [(await service.raise_(key, COST)).shares for key in keys]
    raises = [Raises(GatedStore(service.pool, sql), service.clock, nothing) for sql in locking]
    async with session(service.pool) as keeper:
        await keeper.execute(SHUT)
        asked = [
            service.raise_(key, windows=[total(share, won(limit)) for share in held_], by=by)
            for key, held_, by, limit in zip(keys, shares, raises, ("20", "30"), strict=True)
        ]
        answers = asyncio.gather(*asked, return_exceptions=True)

        async def both_wait() -> bool:
            return bool(await service.pool.fetchval(WAITING) == len(asked))

        await eventually(both_wait)
        await keeper.execute(OPEN)
        return list(await answers)


async def test_raises_that_lock_in_one_order_wait_for_each_other(service: BudgetService) -> None:
    answers = await two_at_once(service, LOCKING, LOCKING)
    assert all(isinstance(answer, Answer) and not answer.refusal for answer in answers), answers
    assert (await service.balance())["held"] == "30"


async def test_raises_that_lock_in_their_own_order_deadlock(service: BudgetService) -> None:
    assert OTHER_WAY_ROUND != LOCKING
    answers = await two_at_once(service, LOCKING, OTHER_WAY_ROUND)
    (failed,) = [answer for answer in answers if isinstance(answer, Transient)]
    assert isinstance(failed.__cause__, asyncpg.DeadlockDetectedError)


class Traffic:
    """Three gateways, three users and operators at work on the same few windows, in any order."""

    def __init__(self, service: BudgetService, keys: Sequence[dict[str, Any]], seed: int) -> None:
        self._office = service
        self._keys = keys
        self._random = random.Random(seed)  # noqa: S311 - a story is to be told again
        self._epochs = dict.fromkeys(GATEWAYS, 1)
        self._shares: dict[str, dict[Any, ShareTotal]] = {gateway: {} for gateway in GATEWAYS}

    async def raises(self) -> None:
        gateway, key = self._random.choice(GATEWAYS), self._random.choice(self._keys)
        epoch, known = self._epochs[gateway], self._shares[gateway]
        answer = await self._office.raise_(key, COST, gateway=gateway, epoch=epoch)
        windows = [total(share, share.granted + won("5")) for share in answer.shares]
        if windows and not answer.refusal:
            answer = await self._office.raise_(key, windows=windows, gateway=gateway, epoch=epoch)
        known |= {share.budget_id: share for share in answer.shares if share.granted}

    async def beats(self) -> None:
        gateway = self._random.choice(GATEWAYS)
        returned = self._random.randint(0, won("20"))
        reports = [report(share, returned=min(returned, share.granted)) for share in self._shares[gateway].values()]
        await self._office.beat(*reports, gateway=gateway, epoch=self._epochs[gateway], policy_revision=10**6)

    async def posts(self) -> None:
        gateway, key = self._random.choice(GATEWAYS), self._random.choice(self._keys)
        shares = list(self._shares[gateway].values())
        self._random.shuffle(shares)
        use = held(*shares, settled=won("3"), uncertain=won("1"), gateway=gateway, epoch=self._epochs[gateway])
        entries = [self._office.priced(key, won("2"), use) for _ in range(self._random.randint(1, 4))]
        await self._office.post(*entries)
        if self._random.random() < 0.5:
            await self._office.admin.post(f"/api/uncertain/{entries[0].attempt_id}/end", json={"reason": "known"})

    async def starts(self) -> None:
        gateway = self._random.choice(GATEWAYS)
        is_whole = self._random.random() < 0.7
        last_epoch, self._shares[gateway] = self._epochs[gateway], {}
        epoch = await self._office.start(gateway, last_epoch=last_epoch, last_record=1, is_whole=is_whole)
        self._epochs[gateway] = max(epoch, self._epochs[gateway])

    async def changes(self) -> None:
        budgets = (await self._office.admin.get("/api/budgets")).json()["items"]
        budget = self._random.choice(budgets)["budget_id"]
        change: dict[str, Any] = {"limit": str(self._random.randint(300, 3000))}
        if self._random.random() < 0.5:
            change |= {"mode": self._random.choice(["hard", "soft"])}
        answer = await self._office.admin.patch(f"/api/budgets/{budget}", json=change)
        assert answer.status_code == 200, answer.text

    async def loses(self) -> None:
        self._office.clock.move(timedelta(seconds=30))
        await self._office.shares.suspend_lost(timedelta(seconds=30))

    async def releases(self) -> None:
        gateway = self._random.choice(GATEWAYS)
        await self._office.shares.release(gateway, self._random.randint(1, self._epochs[gateway]), "tried")

    async def run(self, operations: int, at_once: int) -> None:
        """Raises Transient for a deadlock."""
        acts: list[Callable[[], Awaitable[None]]] = [self.raises, self.beats, self.posts] * 4
        acts += [self.starts, self.changes, self.loses, self.releases]
        queue = [self._random.choice(acts) for _ in range(operations)]

        async def work() -> None:
            while queue:
                try:
                    await queue.pop()()
                except (Fenced, NotFound, StillAlive):
                    continue

        await asyncio.gather(*(work() for _ in range(at_once)))


async def test_whatever_runs_at_once_nobody_is_ended_by_a_deadlock(service: BudgetService) -> None:
    await service.org()
    await service.admin.post("/api/accounts", json={"id": "lan", "kind": "user", "parent": "core", "name": "Lan"})
    for account in ("minh", "acme", "lan", "core"):
        await service.budget("2000", account=account)
    for gateway in GATEWAYS:
        await service.start(gateway)
    traffic = Traffic(service, [await service.key(user) for user in ("minh", "lan", "core")], seed=8)
    service.shares = Shares(Store(service.pool), service.clock, nothing, release_after_s=0)
    await traffic.run(operations=1_000, at_once=8)
    assert await service.broken() == set()
    assert await service.pool.fetchval(WORKED) > 300, "the traffic was traffic"
