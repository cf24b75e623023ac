"""How long gateways wait for raises, and what a beat costs the others.

    uv run python bench/budget_shares.py [--keys 100000] [--asks 20000] [--rate 3000]

On a PostgreSQL of its own (or FAREBOX_POSTGRES_DSN); three gateways, each with two messages under way, as their link to
the budget service sends them: asks that wait go together.

* hot: every ask is of one org budget, more of it each time.
* cold: keys that no gateway has seen, each with a hard budget of its own below one org with a hard budget.
* beats: 2,000 windows in which something is new, in one beat, and what other raises wait meanwhile.
"""

import argparse
import asyncio
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Sequence

import uvloop
from budget_service import company, database, raises_of, shares_of
from servers import postgres

from budget.app import SCHEMA
from budget.shares.raises import Raises
from budget.store import Store
from farebox.auth import key_hash
from farebox.events import CallAttributes
from farebox.ids import new_id
from farebox.postgres import Pool, open_pool, transaction
from farebox.process import settle_memory
from farebox.shares import (
    Answer,
    Ask,
    Beat,
    Need,
    Opening,
    RaiseRequest,
    ShareReport,
    ShareTotal,
    StartRequest,
    WindowAsk,
)
from farebox_local.postgres import GivenPostgres

GATEWAYS = ("gw-0", "gw-1", "gw-2")
SENDERS = 2
ASKS_MAX = 100
COST_NANO = 255_000
CALL = CallAttributes(upstream="openai", provider="openai", model="gpt-4o-mini")
BEAT_WINDOWS = 2_000
STEADY_S = 4
POPULATE = (
    """
INSERT INTO account (account_id, kind, parent_id, path, name)
SELECT 'cold-' || n, 'user', 'org', ARRAY['platform', 'org', 'cold-' || n], 'User' FROM generate_series(1, $1) n;
""",
    """
INSERT INTO account (account_id, kind, parent_id, path, name)
SELECT 'key-' || n, 'key', 'cold-' || n, ARRAY['platform', 'org', 'cold-' || n, 'key-' || n], 'Key'
FROM generate_series(1, $1) n;
""",
    """
INSERT INTO api_key (account_id, key_hash, hint)
SELECT 'key-' || n, encode(sha256(('cold-' || n)::bytea), 'hex'), 'cold' FROM generate_series(1, $1) n;
""",
    """
INSERT INTO budget (budget_id, account_id, name, measure, currency, window_kind, zone, limit_amount, mode, thresholds,
                    narrowed_to)
SELECT gen_random_uuid(), 'cold-' || n, 'own', 'money', 'USD', 'month', 'UTC', 10^11, 'hard', '[]', '{}'
FROM generate_series(1, $1) n;
""",
)


class Link:
    """A gateway's way to the budget service: asks wait for one of two messages, and go together."""

    def __init__(self, raises: Raises, gateway: str) -> None:
        self._raises = raises
        self._gateway = gateway
        self._queue: deque[tuple[Ask, asyncio.Future[Answer]]] = deque()
        self._under_way = 0

    async def ask(self, ask: Ask) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((ask, future))
        if self._under_way < SENDERS:
            self._under_way += 1
            task = asyncio.create_task(self._send())
            task.add_done_callback(lambda done: done.result())
        return await future

    async def _send(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(ASKS_MAX, len(self._queue)))]
            asks = tuple(ask for ask, _ in batch)
            answer = await self._raises.answer(RaiseRequest(gateway_id=self._gateway, epoch=1, asks=asks))
            for (_, future), each in zip(batch, answer.answers, strict=True):
                future.set_result(each)
        self._under_way -= 1


def told(what: str, waits: Sequence[float], rate: float | None = None) -> None:
    marks = statistics.quantiles(waits, n=100)
    speed = "" if rate is None else f"{rate:>9,.0f}/s, "
    print(f"{what:52} {speed}p50 {marks[49] * 1e3:.2f} ms, p99 {marks[98] * 1e3:.2f} ms", flush=True)


async def timed(waits: list[float], work: Awaitable[Answer]) -> Answer:
    started = time.perf_counter()
    answer = await work
    waits.append(time.perf_counter() - started)
    assert answer.policy
    assert not answer.refusal
    return answer


def opening(hashed: str) -> Ask:
    need = Need(cost_nano_usd=COST_NANO, requests=1, tokens=800)
    return Ask(key_hash=hashed, opening=Opening(attributes=CALL, least=need, need=need))


def further(hashed: str, share: ShareTotal, total: int) -> Ask:
    window = WindowAsk(budget_id=share.budget_id, window_start=share.window_start, least=total, need=total, want=total)
    return Ask(key_hash=hashed, windows=(window,))


async def hot(raises: Raises, hashed: str, count: int) -> None:
    """One after the other, then by three gateways at once, two at a time each."""
    totals: dict[str, ShareTotal] = {}

    async def once(gateway: str, waits: list[float]) -> None:
        asks: tuple[Ask, ...] = (opening(hashed),)
        if share := totals.get(gateway):
            asks = (further(hashed, share, share.granted + COST_NANO),)
        request = RaiseRequest(gateway_id=gateway, epoch=1, asks=asks)

        async def answered() -> Answer:
            return (await raises.answer(request)).answers[0]

        totals[gateway] = (await timed(waits, answered())).shares[0]

    async def many(gateway: str, times: int, waits: list[float]) -> None:
        for _ in range(times):
            await once(gateway, waits)

    alone: list[float] = []
    await many(GATEWAYS[0], count, alone)
    told("a raise of a hot budget, one at a time", alone)
    waits: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(many(gateway, count // 3, waits) for gateway in GATEWAYS for _ in range(SENDERS)))
    told("one hot budget, 3 gateways, 2 at once each", waits, len(waits) / (time.perf_counter() - started))


async def cold(raises: Raises, asks: int, rate: float) -> int:
    """All at once, then at a steady rate; how many keys were used."""
    links = [Link(raises, gateway) for gateway in GATEWAYS]
    hashes = iter(range(1, 10**9))

    async def next_ask(waits: list[float]) -> None:
        number = next(hashes)
        await timed(waits, links[number % 3].ask(opening(key_hash(f"cold-{number}"))))

    waits: list[float] = []
    started = time.perf_counter()

    async def caller() -> None:
        while len(waits) < asks:
            await next_ask(waits)

    await asyncio.gather(*(caller() for _ in range(300)))
    told("cold keys below one org, 300 callers", waits, len(waits) / (time.perf_counter() - started))
    steady: list[float] = []
    tasks = []
    started = time.perf_counter()
    for number in range(int(rate * STEADY_S)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(next_ask(steady)))
    await asyncio.gather(*tasks)
    told(f"cold keys, {rate:,.0f} a second arrive", steady, len(steady) / (time.perf_counter() - started))
    return next(hashes)


async def beats(store: Store, raises: Raises, hashed: str) -> None:
    """Alone, and beside raises of one of its windows and of the org's."""
    async with store.transaction() as unit:
        rows = await unit._connection.fetch(  # noqa: SLF001 - a benchmark looks inside
            "SELECT budget_id, window_start, granted FROM budget_share WHERE gateway_id = $1 LIMIT $2",
            GATEWAYS[0],
            BEAT_WINDOWS,
        )
    shares = shares_of(store)
    took: list[float] = []
    work: list[float] = []

    async def beat(returned: int) -> None:
        reports = tuple(
            ShareReport(budget_id=row[0], window_start=row[1], granted=int(row[2]), returned=returned) for row in rows
        )
        body = Beat(gateway_id=GATEWAYS[0], epoch=1, reports=reports).model_dump_json()
        started, worked = time.perf_counter(), time.process_time()
        (await shares.beat(Beat.model_validate_json(body))).model_dump_json()
        took.append(time.perf_counter() - started)
        work.append(time.process_time() - worked)

    waits: list[float] = []
    done = asyncio.Event()

    async def others() -> None:
        link = Link(raises, GATEWAYS[1])
        (share,) = (await link.ask(opening(hashed))).shares
        granted = share.granted
        while not done.is_set():
            granted += COST_NANO
            await timed(waits, link.ask(further(hashed, share, granted)))

    for returned in range(1, 6):
        await beat(returned)
    told(f"a beat of {len(rows):,} windows that all changed", took)
    told("  processor time of the service's process", work)
    took.clear()
    for _ in range(5):
        await beat(5)
    told(f"a beat of {len(rows):,} windows, nothing new", took)
    took.clear()
    other = asyncio.create_task(others())
    for returned in range(6, 16):
        await beat(returned)
    done.set()
    await other
    told("the same beat beside raises of the org's budget", took)
    told("a raise of the org's budget meanwhile", waits)
    print(f"{'  the longest':52} {max(waits) * 1e3:.2f} ms")


async def run(server: GivenPostgres, keys: int, asks: int, rate: float) -> None:
    pool = await open_pool(await database(server), schema=SCHEMA, size=8)
    store = Store(pool)
    hashed = key_hash(await company(store))
    raises, shares = raises_of(store), shares_of(store)
    await populate(pool, keys)
    settle_memory()
    for gateway in GATEWAYS:
        await shares.start(
            StartRequest(gateway_id=gateway, process_id=new_id(), last_epoch=0, last_record=0, is_whole=True)
        )
    await hot(raises, hashed, 1_500)
    used = await cold(raises, asks, rate)
    assert used < keys, "more keys were asked for than there are"
    await beats(store, raises, hashed)
    await pool.close()


async def populate(pool: Pool, keys: int) -> None:
    async with transaction(pool) as connection:
        for statement in POPULATE:
            await connection.execute(statement, keys)
        await connection.execute("UPDATE budget SET limit_amount = 10^18 WHERE account_id = 'org'")
    await pool.execute("ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--asks", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=3_000)
    arguments = parser.parse_args()
    with postgres() as server:
        uvloop.run(run(server, arguments.keys, arguments.asks, arguments.rate))


if __name__ == "__main__":
    main()
