"""Work that comes again: at intervals, and at once when something calls for it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog

from farebox.kafka.backoff import Backoff

log = structlog.get_logger()

RETRY: Final = Backoff(base_s=0.2, cap_s=10.0)


class Recurring:
    """Runs `work` when entered, every `every_s` seconds, and when woken; after an error sooner, with backoff.

    A wake during a run makes one more run: nothing that called for it is missed.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[object]], *, every_s: float) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._recur(), name=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def wake(self) -> None:
        """Run now, or once more after the present run."""
        self._woken.set()

    def problems(self) -> list[str]:
        ended = self._task is None or self._task.done()
        return [f"{self._name}: its task has ended"] if ended else []

    def unready(self) -> list[str]:
        return []

    async def _recur(self) -> None:
        faults = 0
        while True:
            self._woken.clear()
            try:
                await self._work()
                faults, pause_s = 0, self._every_s
            except Exception as error:  # noqa: BLE001 - whatever it is, the work must go on
                faults += 1
                pause_s = RETRY.jittered_s(faults)
                log.warning("recurring_work_failed", work=self._name, faults=faults, error=repr(error))
                await asyncio.sleep(pause_s)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause_s)
