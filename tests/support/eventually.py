"""Waiting for a condition instead of for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(condition: Callable[[], Awaitable[T]], within_s: float = 20.0, every_s: float = 0.05) -> T: ...


@overload
async def eventually(condition: Callable[[], T], within_s: float = 20.0, every_s: float = 0.05) -> T: ...


async def eventually(condition: Callable[[], Any], within_s: float = 20.0, every_s: float = 0.05) -> Any:
    """Call the condition until it neither raises nor answers False or None; returns its answer.

    The condition may be a plain or an async function, with `assert`s in it. When the time is up its last
    failure is raised again, so that the report shows what was wrong and not that something timed out.
    """
    deadline = time.monotonic() + within_s
    while True:
        failure: Exception | None = None
        try:
            answer = condition()
            value = await answer if inspect.isawaitable(answer) else answer
            if value is not None and value is not False:
                return value
        except Exception as error:  # noqa: BLE001 - whatever it is, the last one is raised below
            failure = error
        if time.monotonic() > deadline:
            raise failure or AssertionError(f"not within {within_s:g} s: {condition!r} answered {value!r}")
        await asyncio.sleep(every_s)
