"""The subscriber that docs/events.md shows does what the page says, as it stands there."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from farebox.events import ThresholdCrossed
from farebox.topics import create
from support.golden import GOLDEN

PAGE = Path(__file__).parents[3] / "docs" / "events.md"
CROSSED = GOLDEN[ThresholdCrossed.type]


def shown() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(code)


def test_the_subscriber_is_short() -> None:
    assert sum(bool(line) for line in shown().splitlines()) <= 25


async def test_the_subscriber_tells_a_repeated_event_once_and_what_is_none(kafka: str) -> None:
    await create(kafka, replication=1)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        headers = list(CROSSED.headers.items())
        for value in (CROSSED.raw, CROSSED.raw, b"no event"):
            await producer.send_and_wait("budget.events", value, key=b"one budget", headers=headers)
    code = shown().replace("BOOTSTRAP", kafka).replace("my-subscriber", f"subscriber-{uuid4()}")
    subscriber = await asyncio.create_subprocess_exec(*(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE)
    assert subscriber.stdout is not None
    try:
        lines = [line async for line in _until(subscriber.stdout, "not an event: invalid_event")]
    finally:
        subscriber.kill()
        await subscriber.wait()
    assert lines.count("Nguyễn Văn Minh: 75.50 % spent") == 1


async def _until(output: asyncio.StreamReader, last: str) -> AsyncIterator[str]:
    while line := (await output.readline()).decode().rstrip():
        yield line
        if line.startswith(last):
            return
