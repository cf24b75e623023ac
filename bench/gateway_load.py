"""The gateway with everything on beside a bare relay of the same provider, under the same server.

    uv run python bench/gateway_load.py [--seconds 8] [--runs 3]

Everything on: key, policy, price, share, journal on disk, usage, event to a real Kafka; the budget service is that of
the tests (in memory). The relay: uvicorn, a bare ASGI function, aiohttp. The provider answers from memory; the load
generator sends one request at a time on each connection, as `wrk` would. Each pair is measured in turns, so that a
noisy machine is noisy for both; figures are medians of the runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import uvloop

from farebox import topics
from farebox.money import NANO
from farebox_local.kafka import Kafka
from farebox_local.ports import free_port

BENCH = Path(__file__).resolve().parent
sys.path[0] = str(BENCH.parent / "tests")  # not this folder: its scripts have the names of the services

from support.fake_budget import FakeBudget  # noqa: E402 - the tests' budget service, found one line up
from support.gateway import SECRET, GatewayProcess  # noqa: E402

PATH = "/v1/chat/completions"
HARD, SOFT = f"fbx_{uuid.uuid4().hex}", f"fbx_{uuid.uuid4().hex}"
"""API keys: one under a hard budget, whose every call is reserved in a share; one under a budget that only counts."""


class Target(NamedTuple):
    """What is measured: where it listens, the process that answers, and the API key it is shown."""

    url: str
    process: psutil.Process
    key: str = HARD


@contextmanager
def program(script: str, *arguments: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, str(BENCH / script), *arguments])  # noqa: S603 - our own
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def load(target: Target, *, connections: int, seconds: float, stream: bool = False) -> dict[str, Any]:
    """One run of the load generator, with the seconds of processor the target took. Fails if any request did."""
    command = [sys.executable, str(BENCH / "load.py"), "--url", f"{target.url}{PATH}", "--key", target.key]
    command += ["--connections", str(connections), "--seconds", str(seconds), *(["--stream"] if stream else [])]
    before = target.process.cpu_times()
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    after = target.process.cpu_times()
    found: dict[str, Any] = json.loads(done.stdout)
    if found["errors"]:
        raise SystemExit(f"{found['errors']} requests failed at {target.url}")
    found["processor"] = after.user + after.system - before.user - before.system
    return found


def compare(
    name: str,
    gateway: Target,
    relay: Target,
    figure: Callable[[dict[str, Any]], float],
    show: str,
    runs: int,
    beside: str = "relay",
    **how: Any,
) -> tuple[float, float]:
    """Median figures of both, measured in turns, and a printed line with their ratio."""
    pairs = [(figure(load(gateway, **how)), figure(load(relay, **how))) for _ in range(runs)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name:<44} gateway {ours:{show}}   {beside} {theirs:{show}}   ratio {ours / theirs:.2f}", flush=True)
    return ours, theirs


def added(name: str, gateway: Target, relay: Target, part: str, quantile: str, runs: int, **how: Any) -> None:
    """Milliseconds that the gateway adds to the relay's own."""
    ours, theirs = compare(name, gateway, relay, lambda f: float(f[part][quantile]) * 1e3, ".3f", runs, **how)
    print(f"{'':<44} added {ours - theirs:.3f} ms", flush=True)


def measure(gateway: Target, relay: Target, seconds: float, runs: int) -> None:
    def rate(found: dict[str, Any]) -> float:
        return float(found["requests"] / found["seconds"])

    def processor(found: dict[str, Any]) -> float:
        return float(found["processor"] / found["all_requests"] * 1e6)

    def events(found: dict[str, Any]) -> float:
        return float(found["events"] / found["seconds"])

    compare("JSON, 32 connections, requests/s", gateway, relay, rate, ",.0f", runs, connections=32, seconds=seconds)
    title = "the same, µs of processor a request"
    compare(title, gateway, relay, processor, ",.0f", runs, connections=32, seconds=seconds)
    for quantile in ("p50", "p99"):
        title = f"JSON, 1 connection, latency {quantile}, ms"
        added(title, gateway, relay, "latency", quantile, runs, connections=1, seconds=seconds)
    soft = gateway._replace(key=SOFT)
    for quantile in ("p50", "p99"):
        title = f"enforcement on and off, latency {quantile}, ms"
        how = {"connections": 1, "seconds": seconds, "beside": "off"}
        added(title, gateway, soft, "latency", quantile, runs, **how)
    title = "stream, 1 connection, first byte p50, ms"
    added(title, gateway, relay, "first_byte", "p50", runs, connections=1, seconds=seconds, stream=True)
    for streams in (100, 300):
        title = f"{streams} streams, chunks/s"
        compare(title, gateway, relay, events, ",.0f", runs, connections=streams, seconds=seconds, stream=True)


@contextmanager
def everything() -> Iterator[tuple[Target, Target, GatewayProcess]]:
    """Gateway and relay, and the gateway as a part that can be asked more."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farebox-bench-")))
        broker = Kafka(folder)
        broker.start()
        stack.callback(broker.stop)
        uvloop.run(topics.create(broker.bootstrap, replication=1))
        budget = FakeBudget(secret=SECRET)
        budget.open(HARD, limit=1_000_000 * NANO)
        budget.open(SOFT, mode="soft")
        budget.start()
        stack.callback(budget.close)
        provider, relay = free_port(), free_port()
        stack.enter_context(program("fast_provider.py", "--port", str(provider)))
        provider_url = f"http://127.0.0.1:{provider}"
        relay_pid = stack.enter_context(program("passthrough.py", "--port", str(relay), "--provider", provider_url))
        gateway = GatewayProcess(
            folder,
            kafka=broker.bootstrap,
            budget_url=budget.url,
            provider_url=provider_url,
            settings={"log_level": "warning"},
            upstream={"send_attempt_id": False},
        )
        gateway.start()
        stack.callback(gateway.stop)
        yield (
            Target(gateway.url, psutil.Process(gateway.process.pid)),
            Target(f"http://127.0.0.1:{relay}", psutil.Process(relay_pid)),
            gateway,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with everything() as (ours, relay, gateway):
        measure(ours, relay, given.seconds, given.runs)
        metrics = httpx.get(f"{gateway.ops_url}/metrics", trust_env=False).text
        for line in metrics.splitlines():
            if line.startswith(("farebox_gateway_unpublished_events ", "process_resident_memory_bytes ")):
                print(line)


if __name__ == "__main__":
    main()
