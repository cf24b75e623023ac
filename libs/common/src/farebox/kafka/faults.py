"""Which faults pass by themselves."""

import asyncio

from farebox import postgres
from farebox.errors import FareboxError, Transient


class StrayCancel(FareboxError):
    """Something cancelled the work though nobody is stopping it; let through, it would end the consumer's task."""

    code = "stray_cancel"


def is_transient(error: BaseException) -> bool:
    """Whether the same batch may succeed later: a dependency away or busy, or the time for a batch was up."""
    return isinstance(error, Transient) or postgres.is_transient(error)


def is_stray_cancel() -> bool:
    """Inside `except CancelledError`: whether the current task was not asked to end."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
