"""One run: a stack behind proxies, tenants, load, faults, quiet, evidence, verdict."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from chaos.admin import AdminClient
from chaos.budgets import Midnight
from chaos.calls import Draw, Mix
from chaos.crashes import crashes
from chaos.disk import Disk
from chaos.evidence import gathered
from chaos.injector import Injector
from chaos.knowledge import Run
from chaos.links import Links
from chaos.load import Journal, Load
from chaos.market import Market
from chaos.meter import Meter
from chaos.oracle import Verdict, judge
from chaos.outages import Outages
from chaos.processes import Processes, Record
from chaos.quiet import quiet
from chaos.schedule import BUDGET, GATEWAYS, LINKS, Fault
from chaos.suspense import Operator, follow
from chaos.tariff import SEED, Tariff
from chaos.tenants import found, found_rolling, new_org
from chaos.topics import Kafka
from chaos.zones import write_zone, zones_in
from farebox_local.services import door
from farebox_local.stack import Plan, Stack

REPLICAS: Final = {"gateway": 3, "metering": 2, "budget": 2, "notifier": 1}
SETTINGS: Final = {
    "gateway": {"share_idle_s": "5"},
    "notifier": {"delivery_timeout_s": "3", "delivery_lease_s": "6"},
    "budget": {"gateway_lost_after_s": "30", "longest_call_s": "10"},
    "metering": {"price_lead_s": "150"},
}
HASTY: Final = {"fsync": "off"}
"""A SIGKILL loses nothing by it; only a machine that fails would."""
UPSTREAM: Final = {"timeout_s": 6, "connect_timeout_s": 2}


MIDNIGHTS: Final = (0.35, 0.6, 0.85)
"""When days end, as parts of the time of load."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: `per_s` calls a second, `calm_s` before the first fault and after the last.

    `scale` multiplies the large budgets. `orgs` are those that call; all if none is named.
    """

    folder: Path
    seed: int
    schedule: Sequence[Fault]
    per_s: float
    scale: float = 1.0
    calm_s: float = 2.0
    mix: Mix = field(default_factory=Mix)
    orgs: Sequence[str] = ()


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
    with zones_in(order.folder / "zones"):
        stack = Stack(
            Plan(
                order.folder,
                replicas=REPLICAS,
                settings=_settings(order.folder),
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


def _settings(folder: Path) -> dict[str, dict[str, str]]:
    """Each gateway has a machine of its own, which can boot alone."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = Disk(folder / "journal")
    for gateway in GATEWAYS:
        disk.boot(gateway)
    machines = {gateway: {"boot_id_file": str(disk.boot_id_file(gateway))} for gateway in GATEWAYS}
    return SETTINGS | machines | {"gateway": SETTINGS["gateway"] | machines["gateway"]}


def _links(stack: Stack) -> Links:
    """A proxy at every door; budget's leads to its replicas in turn."""
    port = stack.around.port
    targets = {name: [port(name)] for name in LINKS} | {"budget": [port(name) for name in BUDGET]}
    return Links({name: (port(door(name)), to) for name, to in targets.items()})


async def _run(order: Order, stack: Stack, links: Links, say: Callable[[str], None]) -> Result:
    zero = datetime.now(UTC) - timedelta(seconds=time.monotonic())
    admin, outages, record = AdminClient(stack.around, GATEWAYS), Outages(), Record()
    tenants, everybodys = await found(admin, stack.around, scale=order.scale)
    tenants.append(rolling := await new_org(admin, stack.around, "rolling"))
    await found_rolling(admin, rolling, _midnights(order, order.folder / "zones"))
    tariff = Tariff()
    for model, rate in SEED.items():
        tariff.put(model, rate)
    calling = [tenant for tenant in tenants if not order.orgs or tenant.org in order.orgs]
    journal = Journal(Meter(everybodys, outages))
    market, operator = Market(admin, calling, tariff), Operator(admin)
    kafka = Kafka(stack.around.kafka_bootstrap, random.Random(order.seed))  # noqa: S311 - which records, not secrets
    gateways = {name: stack.around.url(name) for name in GATEWAYS}
    disk = Disk(stack.folder / "journal")
    load = Load(
        seed=order.seed,
        per_s=order.per_s,
        draw=Draw(random.Random(order.seed), calling, market.models, tariff, order.mix),  # noqa: S311 - a load
        gateways=gateways,
        gone=record.gone,
        journal=journal,
    )
    processes = Processes(stack, outages=outages, record=record, disk=disk, operator=operator, gateways=gateways)
    injector = Injector(
        stack=stack,
        links=links,
        kafka=kafka,
        market=market,
        operator=operator,
        processes=processes,
        outages=outages,
        say=say,
    )
    admin.is_running = True
    under_load = asyncio.create_task(load.run())
    async with _background(injector.watch(), disk.watch(), follow(stack, journal.meter)):
        await asyncio.sleep(order.calm_s)
        await injector.run(list(order.schedule))
        await asyncio.sleep(order.calm_s)
        load.stop()
        await under_load
        say(f"{len(journal.calls)} calls made; waiting for quiet")
        here = [name for name in GATEWAYS if name not in record.gone]
        restless = await quiet(stack, kafka, here, say)
    record.troubles += crashes(stack.folder / "logs")
    journal.keep(order.folder / "calls.jsonl")
    evidence = await gathered(stack, kafka)
    await admin.close()
    known = Run(
        zero,
        tenants,
        everybodys,
        journal.calls,
        tariff,
        outages,
        record.lost_nodes,
        record.zombies,
        operator.releases,
        frozenset(record.gone),
        kafka.poisoned,
        journal.meter.false_refusals,
    )
    return Result(order, record, journal, judge(known, evidence), restless)


def _midnights(order: Order, zones: Path) -> list[Midnight]:
    """Days that end while faults come."""
    now, wall = time.monotonic(), datetime.now(UTC)
    load_s = order.calm_s + max((fault.at_s + fault.for_s for fault in order.schedule), default=0.0)
    midnights = []
    for number, part in enumerate(MIDNIGHTS, 1):
        end = (wall + timedelta(seconds=1 + load_s * part)).replace(microsecond=0)
        name = f"Chaos/Midnight_{number}"
        write_zone(zones, name, end)
        midnights.append(Midnight(name, now + (end - wall).total_seconds()))
    return midnights


@contextlib.asynccontextmanager
async def _background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
