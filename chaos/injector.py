"""Does to the stack what a schedule says, and sees to it that everything comes back."""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from chaos.absence import Absence
from chaos.links import Links
from chaos.market import Market
from chaos.schedule import AWAY_S, BUDGET, GATEWAYS, LINKS, METERING, SERVICES, Fault
from chaos.topics import Kafka
from farebox.faults import VARIABLE
from farebox_local.errors import PartFailed
from farebox_local.stack import Stack

READY_WITHIN_S: Final = 60.0 + sum(AWAY_S.values())
POINT_WITHIN_S: Final = 12.0
_HOLDS_RIGHTS: Final = frozenset((*GATEWAYS, *BUDGET, "postgres", "link budget", "link postgres"))
_GROUPS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "metering": (METERING, "request.completed"),
    "budget": (BUDGET, "usage.priced"),
}


@dataclass(slots=True)
class Recovery:
    """One part that was killed: when (monotonic seconds), and when it was ready again."""

    part: str
    killed_at: float
    ready_at: float | None = None


@dataclass(slots=True)
class Record:
    """What was done."""

    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[Recovery] = field(default_factory=list)
    lost_nodes: list[tuple[str, datetime]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    history: list[tuple[float, Fault]] = field(default_factory=list)
    """Every fault, and when it came (monotonic seconds)."""


class Injector:
    """Faults at one part take turns; faults at different parts overlap as they come."""

    def __init__(
        self,
        *,
        stack: Stack,
        links: Links,
        kafka: Kafka,
        market: Market,
        absence: Absence,
        record: Record,
        say: Callable[[str], None],
    ) -> None:
        self._stack = stack
        self._links = links
        self._kafka = kafka
        self._say = say
        alone = (*SERVICES, "kafka", "postgres", *(f"link {name}" for name in LINKS), "office")
        self._turns = {name: asyncio.Lock() for name in alone}
        self._absence = absence
        self.record = record
        self._ways: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill": self._killed,
            "kafka_away": self._away,
            "postgres_away": self._away,
            "pause": self._paused,
            "restart": self._restarted,
            "point": self._died_at,
            "cut": self._linked,
            "stall": self._linked,
            "slow": self._linked,
            "node_loss": self._lost,
            "node_gone": self._gone,
            "journal_damage": self._damaged,
            "poison": self._poisoned,
            "duplicates": self._duplicated,
            "replay": self._replayed,
            "raise_limit": market.raise_limit,
            "cut_limit": market.cut_limit,
            "add_price": market.add_price,
            "change_price": market.change_price,
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
                if part in self.record.gone or turn.locked():
                    continue
                async with turn:
                    if part not in self.record.gone and not self._stack.alive(part):
                        tail = self._stack.log(part).read_text(errors="replace")[-1500:]
                        self.record.troubles.append(f"{part} ended by itself:\n{tail}")
                        await self._up(part)

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

    # Processes

    async def _killed(self, fault: Fault) -> None:
        part = fault.target
        with self._being_away(part):
            recovery = Recovery(part, time.monotonic())
            await asyncio.to_thread(self._stack.kill, part)
            await asyncio.sleep(fault.for_s)
            await self._up(part)
            recovery.ready_at = time.monotonic()
            self.record.recoveries.append(recovery)

    async def _away(self, fault: Fault) -> None:
        """Killed, and back after a long time."""
        with self._being_away(fault.target):
            await asyncio.to_thread(self._stack.kill, fault.target)
            await asyncio.sleep(fault.for_s)
            await self._up(fault.target)

    async def _restarted(self, fault: Fault) -> None:
        with self._being_away(fault.target):
            await asyncio.to_thread(self._stack.stop, fault.target)
            await self._up(fault.target)

    async def _up(self, part: str, once: Mapping[str, str] | None = None) -> None:
        """Start a part and wait until it is ready, for as long as that takes; one that ends meanwhile begins again."""
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            if not self._stack.alive(part):
                with contextlib.suppress(PartFailed):
                    await asyncio.to_thread(self._stack.begin, part, once)
            if await asyncio.to_thread(self._stack.answers, part):
                return
            if time.monotonic() > deadline:
                self.record.troubles.append(f"{part} was not ready within {READY_WITHIN_S:.0f} s")
                return
            await asyncio.sleep(0.1)

    async def _paused(self, fault: Fault) -> None:
        with self._being_away(fault.target):
            await asyncio.to_thread(self._stack.pause, fault.target)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                await asyncio.to_thread(self._stack.resume, fault.target)

    async def _died_at(self, fault: Fault) -> None:
        part = fault.target
        with self._being_away(part):
            await asyncio.to_thread(self._stack.kill, part)
            await asyncio.to_thread(self._stack.begin, part, {VARIABLE: fault.detail})
            deadline = time.monotonic() + POINT_WITHIN_S
            while self._stack.alive(part) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process's end
                await asyncio.sleep(0.05)
            reached = not self._stack.alive(part)
            self.record.faults["point reached" if reached else "point not reached"] += 1
            recovery = Recovery(part, time.monotonic())
            if not reached:
                await asyncio.to_thread(self._stack.kill, part)
            await self._up(part)
            recovery.ready_at = time.monotonic()
            self.record.recoveries.append(recovery)

    async def _lost(self, fault: Fault) -> None:
        """Killed, its disk with it; a new one comes up under its name."""
        gateway = fault.target
        with self._being_away(gateway):
            await asyncio.to_thread(self._stack.kill, gateway)
            self.record.lost_nodes.append((gateway, datetime.now(UTC)))
            shutil.rmtree(self._stack.folder / "journal" / gateway, ignore_errors=True)
            await self._up(gateway)

    async def _gone(self, fault: Fault) -> None:
        """Killed, its disk with it, and never seen again."""
        gateway = fault.target
        self.record.gone.add(gateway)
        await asyncio.to_thread(self._stack.kill, gateway)
        self.record.lost_nodes.append((gateway, datetime.now(UTC)))
        shutil.rmtree(self._stack.folder / "journal" / gateway, ignore_errors=True)
        self._absence.begins(gateway)

    async def _damaged(self, fault: Fault) -> None:
        """A line in the middle of the journal that nobody wrote."""
        gateway = fault.target
        with self._being_away(gateway):
            await asyncio.to_thread(self._stack.kill, gateway)
            self.record.lost_nodes.append((gateway, datetime.now(UTC)))
            segments = sorted((self._stack.folder / "journal" / gateway).glob("segment-*.journal"))
            if segments:
                lines = segments[-1].read_bytes().splitlines(keepends=True)
                lines.insert(len(lines) // 2, b"00000000 completed {torn\n")
                segments[-1].write_bytes(b"".join(lines))
            await self._up(gateway)

    def _being_away(self, part: str) -> contextlib.AbstractContextManager[None]:
        """Noted if the part holds rights, or is needed to get some."""
        return self._absence.of(part) if part in _HOLDS_RIGHTS else contextlib.nullcontext()

    # Links

    async def _linked(self, fault: Fault) -> None:
        arguments = (int(fault.detail.split()[0]) / 1000,) if fault.kind == "slow" else ()
        with self._being_away(f"link {fault.target}"):
            await self._links.tell(fault.target, fault.kind, *arguments)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                await self._links.tell(fault.target, "mend")

    # Topics

    async def _poisoned(self, fault: Fault) -> None:
        await self._kafka.poison(fault.target)

    async def _duplicated(self, fault: Fault) -> None:
        await self._kafka.duplicate(fault.target)

    async def _replayed(self, fault: Fault) -> None:
        """Everything once more, from the first record."""
        service = fault.target
        members, topic = _GROUPS[service]
        await asyncio.gather(*(asyncio.to_thread(self._stack.stop, member) for member in members))
        try:
            await self._kafka.rewind(service, topic)
        finally:
            await asyncio.gather(*(self._up(member) for member in members))


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
        case "replay":
            return sorted(_GROUPS[fault.target][0])
        case "raise_limit" | "cut_limit" | "add_price" | "change_price":
            return ["office"]
        case "poison" | "duplicates":
            return []
        case _:
            return [fault.target]
