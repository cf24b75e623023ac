"""What is done to processes and their disks; and that everything comes back."""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from chaos.clocks import skewed
from chaos.disk import Disk
from chaos.outages import Outages
from chaos.schedule import AWAKE, AWAY_S, SERVICES, Fault
from chaos.suspense import Operator
from chaos.twins import Zombie, twin_of
from farebox.faults import VARIABLE
from farebox_local.errors import PartFailed
from farebox_local.parts import ServedPart
from farebox_local.stack import Stack

READY_WITHIN_S: Final = 60.0 + sum(AWAY_S.values())
POINT_WITHIN_S: Final = 12.0
STANDSTILL_S: Final = 3.0
"""How long a gateway stands still before a twin takes its name."""


@dataclass(slots=True)
class Recovery:
    """One part that was killed: when (monotonic seconds), and when it was ready again."""

    part: str
    killed_at: float
    ready_at: float | None = None


@dataclass(slots=True)
class Record:
    """What was done. Instants are monotonic seconds."""

    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[Recovery] = field(default_factory=list)
    lost_nodes: list[tuple[str, float]] = field(default_factory=list)
    zombies: list[Zombie] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    history: list[tuple[float, Fault]] = field(default_factory=list)
    """Every fault, and when it came."""


class Processes:
    """Each fault has its part to itself. `gateways` are those that callers know, with their addresses."""

    def __init__(
        self,
        stack: Stack,
        *,
        outages: Outages,
        record: Record,
        disk: Disk,
        operator: Operator,
        gateways: dict[str, str],
    ) -> None:
        self._stack = stack
        self._outages = outages
        self.record = record
        self._disk = disk
        self._operator = operator
        self._gateways = gateways
        self._twins = 0

    async def kill(self, fault: Fault) -> None:
        part = fault.target
        with self._outages.of(part):
            recovery = Recovery(part, time.monotonic())
            await asyncio.to_thread(self._stack.kill, part)
            await asyncio.sleep(fault.for_s)
            await self.up(part)
            recovery.ready_at = time.monotonic()
            self.record.recoveries.append(recovery)

    async def take_away(self, fault: Fault) -> None:
        """Killed, and back after a long time."""
        with self._outages.of(fault.target):
            await asyncio.to_thread(self._stack.kill, fault.target)
            await asyncio.sleep(fault.for_s)
            await self.up(fault.target)

    async def restart(self, fault: Fault) -> None:
        with self._outages.of(fault.target):
            await asyncio.to_thread(self._stack.stop, fault.target)
            await self.up(fault.target)

    async def restart_all(self, parts: Collection[str], between: Callable[[], Awaitable[None]]) -> None:
        """Stop them all, do what can only be done meanwhile, start them all."""
        with contextlib.ExitStack() as away:
            for part in parts:
                away.enter_context(self._outages.of(part))
            await asyncio.gather(*(asyncio.to_thread(self._stack.stop, part) for part in parts))
            try:
                await between()
            finally:
                await asyncio.gather(*(self.up(part) for part in parts))

    async def up(self, part: str, once: Mapping[str, str] | None = None) -> None:
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

    async def pause(self, fault: Fault) -> None:
        with self._outages.of(fault.target):
            await asyncio.to_thread(self._stack.pause, fault.target)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                await asyncio.to_thread(self._stack.resume, fault.target)

    async def silence(self, fault: Fault) -> None:
        """A gateway that stands still until it is given up for lost, and an operator who releases what it held."""
        gateway = fault.target
        self._operator.unheard.add(gateway)
        try:
            with self._outages.of(gateway):
                await asyncio.to_thread(self._stack.pause, gateway)
                try:
                    await asyncio.sleep(fault.for_s)
                    await self._operator.release_all_of(gateway)
                finally:
                    await asyncio.to_thread(self._stack.resume, gateway)
        finally:
            self._operator.unheard.discard(gateway)

    async def die_at(self, fault: Fault) -> None:
        part = fault.target
        with self._outages.of(part):
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
            await self.up(part)
            recovery.ready_at = time.monotonic()
            self.record.recoveries.append(recovery)

    # Disks

    async def lose(self, fault: Fault) -> None:
        """Killed, its disk with it; a new one comes up under its name."""
        gateway = fault.target
        with self._outages.of(gateway):
            await self._kill_node(gateway)
            shutil.rmtree(self._disk.journal(gateway), ignore_errors=True)
            await self.up(gateway)

    async def lose_for_good(self, fault: Fault) -> None:
        """Killed, its disk with it, and never seen again."""
        gateway = fault.target
        self.record.gone.add(gateway)
        self._outages.begins(gateway)
        await self._kill_node(gateway)
        shutil.rmtree(self._disk.journal(gateway), ignore_errors=True)

    async def lose_power(self, fault: Fault) -> None:
        """Killed, and its disk comes back without what was written last."""
        gateway = fault.target
        with self._outages.of(gateway):
            await self._kill_node(gateway)
            self._disk.lose_power(gateway, fault.for_s)
            await self.up(gateway)

    async def damage(self, fault: Fault) -> None:
        """A line in the middle of the journal that nobody wrote."""
        gateway = fault.target
        with self._outages.of(gateway):
            await self._kill_node(gateway)
            if segments := self._disk.segments(gateway):
                lines = segments[-1].read_bytes().splitlines(keepends=True)
                lines.insert(len(lines) // 2, b"00000000 completed {torn\n")
                segments[-1].write_bytes(b"".join(lines))
            await self.up(gateway)

    async def _kill_node(self, gateway: str) -> None:
        await asyncio.to_thread(self._stack.kill, gateway)
        self.record.lost_nodes.append((gateway, time.monotonic()))

    # Clocks and names

    async def set_clock(self, fault: Fault) -> None:
        """A gateway runs for a while with a clock that is off; whether it becomes ready so is its own affair."""
        gateway = fault.target
        clock = self._stack.folder / f"clock-{gateway}"
        environment = skewed(clock, int(fault.detail))
        with self._outages.of(gateway):
            await asyncio.to_thread(self._stack.stop, gateway)
            await asyncio.to_thread(self._stack.begin, gateway, environment)
            await asyncio.sleep(fault.for_s)
            await asyncio.to_thread(self._stack.stop, gateway)
            shutil.rmtree(clock)
            await self.up(gateway)

    async def double(self, fault: Fault) -> None:
        """A gateway stands still, another process takes its name, and the first goes on beside it for a while.

        With AWAKE it never stands still: somebody gave two processes one name.
        """
        gateway = fault.target
        self._twins += 1
        twin = twin_of(gateway, self._twins, self._stack)
        name = f"twin-{self._twins}"
        with self._outages.of(gateway):
            self._operator.unheard.add(gateway)
            try:
                if fault.detail != AWAKE:
                    await asyncio.to_thread(self._stack.pause, gateway)
                    await asyncio.sleep(STANDSTILL_S)
                is_up = await self._is_up(twin)
                await asyncio.to_thread(self._stack.resume, gateway)
                if is_up:
                    await self._be_two(gateway, name, twin.url, fault.for_s)
                await asyncio.to_thread(self._stack.stop, gateway)
                await asyncio.to_thread(twin.stop)
            finally:
                self._operator.unheard.discard(gateway)
                twin.kill()
                with contextlib.suppress(PartFailed):  # it has stopped
                    await asyncio.to_thread(self._stack.resume, gateway)
            await self.up(gateway)

    async def _is_up(self, twin: ServedPart) -> bool:
        """Start it; where Kafka is away it does not become ready, and there are no two."""
        try:
            await asyncio.to_thread(twin.start)
        except PartFailed:
            self.record.faults["zombie not ready"] += 1
            return False
        return True

    async def _be_two(self, gateway: str, twin: str, url: str, for_s: float) -> None:
        """Callers call both."""
        zombie = Zombie(gateway, time.monotonic())
        self.record.zombies.append(zombie)
        self._gateways[twin] = url
        try:
            await asyncio.sleep(for_s)
        finally:
            zombie.until = time.monotonic()
            self.record.gone.add(twin)

    def ended_by_itself(self, part: str) -> str | None:
        """The last lines of a part that should run and does not."""
        if part not in SERVICES or part in self.record.gone or self._stack.alive(part):
            return None
        return self._stack.log(part).read_text(errors="replace")[-1500:]
