"""Does to the stack what a schedule says, each fault at its time."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from chaos.database import break_connections, make_read_only
from chaos.links import Links
from chaos.market import Market
from chaos.outages import Outages
from chaos.processes import Processes
from chaos.schedule import BUDGET, LINKS, METERING, SERVICES, Fault
from chaos.suspense import Operator
from chaos.topics import Kafka
from farebox_local.stack import Stack

_GROUPS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "metering": (METERING, "request.completed"),
    "budget": (BUDGET, "usage.priced"),
}
_OFFICE: Final = frozenset(
    ("raise_limit", "cut_limit", "add_price", "change_price", "new_budget", "switch_budget", "revoke_key", "release")
)


class Injector:
    """Faults at one part take turns; faults at different parts overlap as they come."""

    def __init__(
        self,
        *,
        stack: Stack,
        links: Links,
        kafka: Kafka,
        market: Market,
        operator: Operator,
        processes: Processes,
        outages: Outages,
        say: Callable[[str], None],
    ) -> None:
        self._stack = stack
        self._links = links
        self._kafka = kafka
        self._operator = operator
        self._processes = processes
        self._outages = outages
        self._say = say
        alone = (*SERVICES, "kafka", "postgres", *(f"link {name}" for name in LINKS), "admin")
        self._turns = {name: asyncio.Lock() for name in alone}
        self.record = processes.record
        self._ways: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill": processes.kill,
            "kafka_away": processes.take_away,
            "postgres_away": processes.take_away,
            "pause": processes.pause,
            "silence": processes.silence,
            "restart": processes.restart,
            "point": processes.die_at,
            "node_loss": processes.lose,
            "node_gone": processes.lose_for_good,
            "power_loss": processes.lose_power,
            "journal_damage": processes.damage,
            "zombie": processes.double,
            "skew": processes.set_clock,
            "cut": self._linked,
            "stall": self._linked,
            "slow": self._linked,
            "stall_one": self._stalled_alone,
            "read_only": self._read_only,
            "fail_over": self._failed_over,
            "poison": self._poisoned,
            "duplicates": self._duplicated,
            "replay": self._replayed,
            "release": self._released,
            "raise_limit": market.raise_limit,
            "cut_limit": market.cut_limit,
            "add_price": market.add_price,
            "change_price": market.change_price,
            "new_budget": market.new_budget,
            "switch_budget": market.switch_budget,
            "revoke_key": market.revoke_key,
        }

    async def run(self, schedule: list[Fault]) -> None:
        """Every fault at its time; returns when all have passed and everything is up."""
        began = time.monotonic()
        tasks = []
        for fault in schedule:
            await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
            tasks.append(asyncio.create_task(self._inflict(fault)))
        await asyncio.gather(*tasks)

    async def watch(self) -> None:
        """Until cancelled: start again what ended by itself, and what says that only a restart will mend it."""
        while True:
            await asyncio.sleep(1.0)
            for part in SERVICES:
                turn = self._turns[part]
                if turn.locked():
                    continue
                async with turn:
                    if (tail := self._processes.ended_by_itself(part)) is not None:
                        self.record.troubles.append(f"{part} ended by itself:\n{tail}")
                        with self._outages.of(part):
                            await self._processes.up(part)

    async def _inflict(self, fault: Fault) -> None:
        self._say(str(fault))
        self.record.history.append((time.monotonic(), fault))
        try:
            async with self._turn_of(fault):
                if fault.target in self.record.gone:
                    return
                self.record.faults[_kind(fault)] += 1
                await self._ways[fault.kind](fault)
        except Exception as error:  # noqa: BLE001 - a fault that fails is shown; the run goes on
            self.record.troubles.append(f"{fault}: {error!r}")

    @contextlib.asynccontextmanager
    async def _turn_of(self, fault: Fault) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as turns:
            for name in _turns(fault):
                await turns.enter_async_context(self._turns[name])
            yield

    # Links

    async def _linked(self, fault: Fault) -> None:
        arguments = (int(fault.detail.split()[0]) / 1000,) if fault.kind == "slow" else ()
        with self._outages.of(f"link {fault.target}"):
            await self._links.tell(fault.target, fault.kind, *arguments)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                await self._links.tell(fault.target, "mend")

    async def _stalled_alone(self, fault: Fault) -> None:
        """One process's connections to Kafka stand still; everybody else's go on."""
        pid = self._stack.pid(fault.target)
        if pid is None:
            return
        with self._outages.of(f"link kafka of {fault.target}"):
            await self._links.tell("kafka", "stall_of", pid)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                await self._links.tell("kafka", "mend")

    # The database

    async def _read_only(self, fault: Fault) -> None:
        dsn = self._stack.around.postgres.dsn("farebox")
        with self._outages.of("postgres"):
            await make_read_only(dsn, read_only=True)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                await make_read_only(dsn, read_only=False)

    async def _failed_over(self, fault: Fault) -> None:
        """As `read_only`, with every connection broken at the beginning and at the end."""
        dsn = self._stack.around.postgres.dsn("farebox")
        with self._outages.of("postgres"):
            await make_read_only(dsn, read_only=True)
            try:
                await break_connections(dsn)
                await asyncio.sleep(fault.for_s)
            finally:
                await make_read_only(dsn, read_only=False)
                await break_connections(dsn)

    # Topics

    async def _poisoned(self, fault: Fault) -> None:
        await self._kafka.poison(fault.target)

    async def _duplicated(self, fault: Fault) -> None:
        await self._kafka.duplicate(fault.target)

    async def _replayed(self, fault: Fault) -> None:
        """Everything once more, from the first record."""
        members, topic = _GROUPS[fault.target]
        await self._processes.restart_all(members, lambda: self._kafka.rewind(fault.target, topic))

    async def _released(self, fault: Fault) -> None:
        """One thing in suspense, or all of a gateway's."""
        if fault.target:
            await self._operator.release_all_of(fault.target)
        else:
            await self._operator.release_one(random.Random(int(fault.detail)))  # noqa: S311 - part of the schedule


def _kind(fault: Fault) -> str:
    """Under what a fault is counted."""
    if fault.kind in ("kill", "pause", "restart", "replay", "poison", "duplicates"):
        return f"{fault.kind} {fault.target.split('-')[0]}"
    if fault.kind in ("cut", "stall", "slow"):
        return f"{fault.kind} link to {fault.target}"
    return fault.kind


def _turns(fault: Fault) -> list[str]:
    """The parts that a fault needs to itself, in one order."""
    match fault.kind:
        case "cut" | "stall" | "slow":
            return [f"link {fault.target}"]
        case "stall_one":
            return [fault.target, "link kafka"]
        case "replay":
            return sorted(_GROUPS[fault.target][0])
        case kind if kind in _OFFICE:
            return ["admin"]
        case "poison" | "duplicates":
            return []
        case _:
            return [fault.target]
