"""examples/subscriber, as it stands there, against the run's broker."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from farebox.events import BudgetExhausted
from farebox.kafka import Message
from support.alerts import crossed, locale, message, state

Topic = Callable[..., Awaitable[str]]
Put = Callable[..., Awaitable[None]]

SUBSCRIBER = Path(__file__).parents[3] / "examples" / "subscriber" / "subscriber.py"
WARNING = "Acme: 75.00 % spent, 21750 of 29000 VND"
CRITICAL = "Acme: 90.00 % spent, 26100 of 29000 VND"
EMERGENCY = "Acme: 95.50 % spent, 27695 of 29000 VND"


@contextlib.asynccontextmanager
async def subscriber(*arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """What it prints, until Ctrl-C."""
    command = (sys.executable, str(SUBSCRIBER), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()


async def lines(printed: asyncio.StreamReader, count: int) -> list[str]:
    return [(await printed.readline()).decode().rstrip() for _ in range(count)]


def typed(record: Message, name: bytes) -> Message:
    """The record with another type."""
    return replace(record, headers=(*(each for each in record.headers if each[0] != "ce_type"), ("ce_type", name)))


def three(topic: str) -> list[Message]:
    """Three thresholds, one after the other."""
    return [message(crossed(percent), topic) for percent in ("75.00", "90.00", "95.50")]


def test_the_subscriber_is_short() -> None:
    assert sum(bool(line.strip()) for line in SUBSCRIBER.read_text("utf-8").splitlines()) <= 25


async def test_a_repeated_event_is_told_once(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds")
    warning, critical, emergency = three(name)
    await put(warning, warning, critical, warning, emergency)
    async with subscriber(kafka, name) as printed:
        assert await lines(printed, 3) == [f"0:0 {WARNING}", f"0:2 {CRITICAL}", f"0:4 {EMERGENCY}"]


async def test_other_events_of_the_topic_are_left_to_others(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds")
    await put(message(BudgetExhausted(budget=state(), locale=locale("en")), name), message(crossed(), name))
    async with subscriber(kafka, name) as printed:
        assert await lines(printed, 1) == [f"0:1 {WARNING}"]


async def test_what_it_does_not_understand_is_shown_and_does_not_stop_it(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds")
    known = message(crossed(), name)
    unknown = (typed(known, b"farebox.budget.lent.v1"), typed(known, b"farebox.budget.threshold_crossed.v9"))
    await put(*unknown, replace(known, value=b"poison"), Message(name, None, b"\xff"), Message(name, b"k", None), known)
    async with subscriber(kafka, name) as printed:
        *shown, told = await lines(printed, 6)
    reasons = ["unknown_type", "unknown_version", "invalid_event", "not_an_event", "no_value"]
    assert [line.split(": ")[:2] for line in shown] == [
        [f"0:{offset} not understood", reason] for offset, reason in enumerate(reasons)
    ]
    assert told == f"0:5 {WARNING}"


async def test_counts_are_told_as_they_are(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds")
    counted = state().model_copy(update={"measure": "requests", "currency": None, "spent": 3, "limit": 4})
    await put(message(crossed().model_copy(update={"budget": counted}), name))
    async with subscriber(kafka, name) as printed:
        assert await lines(printed, 1) == ["0:0 Acme: 75.00 % spent, 3 of 4 requests"]


async def test_after_a_restart_it_goes_on_where_it_was(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds")
    warning, critical, emergency = three(name)
    await put(warning, critical)
    async with subscriber(kafka, name) as printed:
        await lines(printed, 2)  # the first is committed before the second is told
    await put(emergency)
    async with subscriber(kafka, name) as printed:
        assert (await lines(printed, 1))[0] in {f"0:1 {CRITICAL}", f"0:2 {EMERGENCY}"}


async def test_it_goes_back_to_an_offset_of_a_partition(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds", partitions=2)
    await put(*three(name), partition=1)
    async with subscriber(kafka, name) as printed:
        await lines(printed, 3)
    async with subscriber(kafka, name, "1:1") as printed:
        assert await lines(printed, 2) == [f"1:1 {CRITICAL}", f"1:2 {EMERGENCY}"]
