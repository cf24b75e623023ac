"""Which faults pass by themselves."""

import asyncio

from farebox.errors import FareboxError, Transient
from farebox.postgres import TRANSIENT


class StrayCancel(FareboxError):
    """Something cancelled the work though nobody is stopping it; let through, it would end the consumer's task."""

    code = "stray_cancel"


def is_transient(error: BaseException) -> bool:
    """Whether the same batch may succeed later: a dependency away or busy, or the time for a batch was up.

    asyncpg's errors of use are among its connection errors; those about a value (they are ValueErrors) are permanent.
    """
    return isinstance(error, (Transient, *TRANSIENT)) and not isinstance(error, ValueError)


def is_stray_cancel() -> bool:
    """Inside `except CancelledError`: whether the current task was not asked to end."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
