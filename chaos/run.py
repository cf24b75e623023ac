"""One run: a stack behind proxies, tenants, load, faults, quiet, evidence, verdict."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from chaos.absence import Absence
from chaos.evidence import gathered
from chaos.injector import Injector, Record
from chaos.links import Links
from chaos.load import Journal, Load
from chaos.market import Market
from chaos.meter import Meter
from chaos.oracle import Run, Verdict, judge
from chaos.quiet import quiet
from chaos.schedule import BUDGET, GATEWAYS, LINKS, Fault
from chaos.tariff import SEED, Tariff
from chaos.tenants import Office, found
from chaos.topics import Kafka
from farebox_local.services import door
from farebox_local.stack import Plan, Stack

REPLICAS: Final = {"gateway": 3, "metering": 2, "budget": 2, "notifier": 1}
SETTINGS: Final = {
    "notifier": {"delivery_timeout_s": "3", "delivery_lease_s": "6"},
    "budget": {"gateway_lost_after_s": "30"},
    "metering": {"price_lead_s": "150"},
}
HASTY: Final = {"fsync": "off"}
"""A SIGKILL loses nothing by it; only a machine that fails would."""
UPSTREAM: Final = {"timeout_s": 6, "connect_timeout_s": 2}


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: `per_s` calls a second, `calm_s` before the first fault and after the last.

    `scale` multiplies the large budgets.
    """

    folder: Path
    seed: int
    schedule: Sequence[Fault]
    per_s: float
    scale: float = 1.0
    calm_s: float = 2.0


@dataclass(slots=True)
class Result:
    """What came of it."""

    order: Order
    record: Record
    journal: Journal
    verdict: Verdict
    restless: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not (self.verdict.findings or self.restless or self.record.troubles)


async def run(order: Order, say: Callable[[str], None]) -> Result:
    """The stack is up when this begins to count, and down when it returns. The folder stays."""
    began = time.monotonic()
    stack = Stack(
        Plan(
            order.folder,
            replicas=REPLICAS,
            settings=SETTINGS,
            postgres_settings=HASTY,
            upstream=UPSTREAM,
            doors=LINKS,
        )
    )
    try:
        async with _links(stack) as links:
            await asyncio.to_thread(stack.up)
            result = await _run(order, stack, links, say)
    finally:
        await asyncio.to_thread(stack.down)
    result.seconds = time.monotonic() - began
    return result


def _links(stack: Stack) -> Links:
    """A proxy at every door; budget's leads to its replicas in turn."""
    port = stack.around.port
    targets = {name: [port(name)] for name in LINKS} | {"budget": [port(name) for name in BUDGET]}
    return Links({name: (port(door(name)), to) for name, to in targets.items()})


async def _run(order: Order, stack: Stack, links: Links, say: Callable[[str], None]) -> Result:
    office = Office(stack.around, GATEWAYS)
    tenants, everybodys = await found(office, stack.around, scale=order.scale)
    tariff = Tariff()
    for model, rate in SEED.items():
        tariff.put(model, datetime.min.replace(tzinfo=UTC), rate)
    kafka = Kafka(stack.around.kafka_bootstrap, random.Random(order.seed))  # noqa: S311 - which records, not secrets
    absence = Absence()
    meter = Meter(everybodys, absence)
    journal = Journal(meter)
    market, record = Market(office, tenants, tariff), Record()
    load = Load(
        seed=order.seed,
        per_s=order.per_s,
        tenants=tenants,
        gateways={name: stack.around.url(name) for name in GATEWAYS},
        gone=record.gone,
        models=market.models,
        tariff=tariff,
        journal=journal,
    )
    injector = Injector(
        stack=stack,
        links=links,
        kafka=kafka,
        market=market,
        absence=absence,
        record=record,
        say=say,
    )
    calling = asyncio.create_task(load.run())
    async with _background(injector.watch(), _suspense(stack, meter)):
        await asyncio.sleep(order.calm_s)
        await injector.run(list(order.schedule))
        await asyncio.sleep(order.calm_s)
        load.stop()
        await calling
        say(f"{len(journal.calls)} calls made; waiting for quiet")
        here = [name for name in GATEWAYS if name not in record.gone]
        restless = await quiet(stack, kafka, here, say)
    journal.keep(order.folder / "calls.jsonl")
    evidence = await gathered(stack, kafka)
    await office.close()
    lost, gone = record.lost_nodes, frozenset(record.gone)
    verdict = judge(Run(tenants, everybodys, journal.calls, tariff, lost, gone, kafka.poisoned), evidence)
    return Result(order, record, journal, verdict, restless)


async def _suspense(stack: Stack, meter: Meter) -> None:
    """Until cancelled: tell the meter what budgets count as spent for a lost gateway's sake."""
    while True:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(stack.around.postgres.dsn("farebox"), timeout=2)
            try:
                rows = await connection.fetch(
                    "SELECT budget_id, sum(suspended) AS suspended FROM budget.budget_window GROUP BY budget_id",
                    timeout=2,
                )
            finally:
                connection.terminate()
            meter.suspended = {str(row["budget_id"]): int(row["suspended"]) for row in rows}
        await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def _background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
