"""The commands of examples/kcat/README.md, as they stand there, on topics of the test's own."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farebox.events import BalanceChanged, BudgetExhausted
from support.alerts import NOON, crossed, locale, message, state

pytestmark = pytest.mark.skipif(
    not (shutil.which("kcat") and shutil.which("jq")), reason="kcat or jq is not installed (Debian: kcat, jq)"
)

Topic = Callable[..., Awaitable[str]]
Put = Callable[..., Awaitable[None]]

ROOT = Path(__file__).parents[3]
RECIPES = dict(
    re.findall(
        r"^## (.*?)\n.*?```sh\n(.*?)```",
        (ROOT / "examples/kcat/README.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
HOUR_MS = 3_600_000


@contextlib.asynccontextmanager
async def recipe(title: str, kafka: str, topic: str) -> AsyncIterator[Process]:
    """The recipe under this heading as it runs, reading this topic; without `-q`, kcat says where a topic ends."""
    command = re.sub(r"-t \S+", f"-t {topic}", RECIPES[title]).replace("kcat -q", "kcat")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c", command),
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env={**os.environ, "KAFKA": kafka},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def printed(title: str, kafka: str, topic: str) -> list[str]:
    """All that a recipe prints which ends by itself."""
    async with recipe(title, kafka, topic) as running:
        output, complaints = await running.communicate()
    assert running.returncode == 0, complaints
    return output.decode().splitlines()


async def test_only_thresholds_are_followed(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds")
    poison = replace(message(crossed(), name), value=b"poison")
    await put(message(BudgetExhausted(budget=state(), locale=locale("en")), name), replace(poison, headers=()), poison)
    async with recipe("Follow the thresholds", kafka, name) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert told(await running.stdout.readline()) == ("0:2", "farebox.budget.threshold_crossed.v1", None, None)
        await running.stderr.readuntil(b"Reached end of topic")
        await put(message(crossed("90.00"), name))
        assert told(await running.stdout.readline()) == ("0:3", "farebox.budget.threshold_crossed.v1", "Acme", "90.00")


def told(line: bytes) -> tuple[Any, ...]:
    event = json.loads(line)
    assert re.fullmatch("[0-9a-f-]{36}", event["ce_id"])
    return event["place"], event["ce_type"], event["account"], event["percent"]


async def test_from_an_offset_shows_the_rest_of_the_partition(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds", partitions=2)
    records = [message(crossed(percent), name) for percent in ("75.00", "90.00", "95.50")]
    await put(*records, partition=0)
    await put(*records, partition=1)
    shown = await printed("From an offset", kafka, name)
    assert [line.partition(" ce_")[0] for line in shown[::2]] == ["1:1", "1:2"]
    assert [json.loads(line)["budget"]["percent_spent"] for line in shown[1::2]] == ["90.00", "95.50"]


async def test_from_a_moment_on_shows_each_event_once(kafka: str, topic: Topic, put: Put) -> None:
    name = await topic("thresholds")
    old, new = message(crossed("75.00"), name), message(crossed("90.00"), name)
    await put(old, moment_ms=time.time_ns() // 1_000_000 - 2 * HOUR_MS)
    await put(new, new)
    (shown,) = await printed("From a moment on", kafka, name)
    assert json.loads(shown)["ce_type"] == "farebox.budget.threshold_crossed.v1"


async def test_the_newest_balance_is_the_newest_window_at_its_highest_revision(
    kafka: str, topic: Topic, put: Put
) -> None:
    name = await topic("balances", compacted=True)
    states = [state("10.00", revision=2), state("20.00", revision=3), state("15.00", revision=2)]
    earlier = states[0].window.model_copy(update={"start": NOON.replace(month=10, day=1)})
    states.append(state("99.00", revision=9, window=earlier))
    await put(*(message(BalanceChanged(budget=each), name) for each in states))
    (shown,) = await printed("The newest balances", kafka, name)
    assert json.loads(shown)["percent"] == "20.00"
