"""A disk that takes no more: nothing goes out that is not written down, and what is under way is not lost."""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from farebox.pricing import UsageSource
from support.eventually import eventually
from support.fake_budget import FakeAccount, FakeBudget
from support.gateway import GatewayProcess, chat, published, settled
from support.provider import DemoProvider

MODES = pytest.mark.parametrize(
    "own_service", [{"mode": "hard"}, {"mode": "soft"}], indirect=True, ids=["hard", "soft"]
)
WORK = 4
ON_A_SMALL_DISK = """
import sys
from datetime import UTC, datetime
from pathlib import Path

from farebox.ids import new_id
from gateway.errors import JournalFull
from gateway.journal.journal import Journal
from gateway.journal.record import Entry
from gateway.shares.amount import Amount

def opened():
    return Journal(Path(sys.argv[1]), segment_bytes=100_000, limit_bytes=1 << 30, spent=list, boot="this boot")

journal, begun = opened(), []
try:
    while True:
        entry = Entry(new_id(), (), Amount(1, 1, 1), "ann", datetime.now(UTC), b'{"x":"%s"}' % (b"x" * 1000))
        begun.append((entry, journal.intent(entry)))
except JournalFull:
    pass
ended = [journal.completed(entry._replace(event=b'{"x":"%s"}' % (b"x" * 9000)), intent) for entry, intent in begun]
print(len(begun), sum(place == intent for place, (_, intent) in zip(ended, begun)))
"""
"""Begins attempts until its disk is full, then ends them all; prints how many, and how many ends were refused."""


@contextmanager
def full_disk(gateway: GatewayProcess) -> Iterator[None]:
    """No file of the process grows any more. Its log, which is shorter than its journal, still can."""
    journal = max(path.stat().st_size for path in gateway.journal.glob("segment-*"))
    assert gateway.process.log.stat().st_size < journal / 2
    pid = gateway.process.pid
    assert pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (journal, resource.RLIM_INFINITY))
    yield
    with suppress(ProcessLookupError):  # the test killed it
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def at_work(gateway: GatewayProcess, api_key: str) -> None:
    """Some calls, so that there is a journal."""
    answers = await asyncio.gather(*(chat(gateway, api_key, max_tokens=10) for _ in range(WORK)))
    assert {answer.status_code for answer in answers} == {200}


async def refused(gateway: GatewayProcess, api_key: str) -> int:
    """Calls until one is refused, because the room that the journal had taken is used up; how many were answered."""
    body, answered = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "max_tokens": 10}, 0
    async with gateway.client(api_key) as client:
        while (answer := await client.post("/v1/chat/completions", json=body)).status_code == 200:
            answered += 1
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "journal_unavailable")
    return answered


def told(gateway: GatewayProcess) -> list[str]:
    """What the log says of the journal."""
    lines = gateway.process.log.read_text().splitlines()
    return [event for line in lines for event in ("journal_not_writable", "journal_writable_again") if event in line]


@MODES
async def test_on_a_full_disk_no_call_goes_out_and_afterwards_all_do(
    own_gateway: GatewayProcess, own_account: FakeAccount, api_key: str, user: str, kafka: str, provider: DemoProvider
) -> None:
    await at_work(own_gateway, api_key)
    with full_disk(own_gateway):
        answered = WORK + await refused(own_gateway, api_key)
        assert [await refused(own_gateway, api_key) for _ in range(10)] == [0] * 10
        assert own_gateway.health("live").status_code == 200
        assert own_gateway.health("ready").status_code == 503
        assert "journal: " in own_gateway.health("ready").text
        assert len(provider.bill()) == answered
    await eventually(lambda: own_gateway.health("ready").status_code == 200)
    await at_work(own_gateway, api_key)
    events = await published(kafka, answered + WORK, user=user)
    assert sorted(str(event.attempt_id) for event in events) == sorted(line["request_id"] for line in provider.bill())
    assert told(own_gateway) == ["journal_not_writable", "journal_writable_again"]
    await asyncio.to_thread(own_gateway.stop)
    assert own_account.held == settled(events)


async def test_calls_under_way_when_the_disk_fills_have_one_event_each_also_after_a_crash(
    own_gateway: GatewayProcess,
    own_service: FakeBudget,
    own_account: FakeAccount,
    api_key: str,
    user: str,
    kafka: str,
    provider: DemoProvider,
) -> None:
    await at_work(own_gateway, api_key)
    slow = [
        asyncio.create_task(chat(own_gateway, api_key, max_tokens=60, orders={"latency-ms": "4000"})) for _ in range(5)
    ]
    await eventually(lambda: len(provider.bill()) == WORK + 5)
    with full_disk(own_gateway):
        count = WORK + 5 + await refused(own_gateway, api_key)
        assert {answer.status_code for answer in await asyncio.gather(*slow)} == {200}
        await published(kafka, count, user=user)
        await asyncio.to_thread(own_gateway.kill)
    await asyncio.to_thread(own_gateway.start)
    await at_work(own_gateway, api_key)  # its events come after those that the new process publishes again
    events = await published(kafka, count + WORK, user=user)
    assert {(event.outcome, event.usage.source) for event in events} == {("success", UsageSource.REPORTED)}
    await asyncio.to_thread(own_gateway.stop)
    assert own_account.held == settled(events)


def test_on_a_full_file_system_every_attempt_that_was_begun_is_completed(tmp_path: Path) -> None:
    mounted = 'mount -t tmpfs -o size=2m small "$0" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, str(tmp_path)]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:  # noqa: S603 - no outside input
        pytest.skip("this user may not mount a file system of its own")
    script = [sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)]
    done = subprocess.run([*command, *script], capture_output=True, text=True, check=True)  # noqa: S603 - no outside input
    begun, refused_ends = map(int, done.stdout.splitlines()[-1].split())
    assert begun > 0
    assert refused_ends == 0
