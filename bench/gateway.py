"""The gateway with everything on beside a bare relay of the same provider, under the same server.

    uv run python bench/gateway.py [--seconds 8] [--runs 3]

Everything on: key, policy, price, lease, journal on disk, usage, event to a real Kafka; the budget service is the tests'
(one budget, in memory). The relay: uvicorn, a bare ASGI function, aiohttp. The provider answers from memory; the load
generator sends one request at a time on each connection (`wrk` would do the same). Each pair is measured in turns, so that
a noisy machine is noisy for both; figures are medians of the runs.
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
from typing import Any

import httpx
import uvloop

from farebox import topics
from farebox.money import NANO
from farebox_local.kafka import Kafka
from farebox_local.ports import free_port

BENCH = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH.parent / "tests"))

from support.fake_budget import FakeBudget  # noqa: E402 - the tests' budget service, found one line up
from support.gateway import SECRET, GatewayProcess  # noqa: E402

PATH = "/v1/chat/completions"
KEY = f"fbx_{uuid.uuid4().hex}"


@contextmanager
def program(script: str, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, str(BENCH / script), *arguments])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def load(url: str, *, connections: int, seconds: float, stream: bool = False) -> dict[str, Any]:
    """One run of the load generator. Fails if any request did."""
    command = [sys.executable, str(BENCH / "load.py"), "--url", f"{url}{PATH}", "--key", KEY]
    command += ["--connections", str(connections), "--seconds", str(seconds), *(["--stream"] if stream else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["errors"]:
        raise SystemExit(f"{found['errors']} requests failed at {url}")
    return found


def compare(
    name: str, gateway: str, relay: str, figure: Callable[[dict[str, Any]], float], show: str, runs: int, **how: Any
) -> tuple[float, float]:
    """Median figures of both, measured in turns, and a printed line with their ratio."""
    pairs = [(figure(load(gateway, **how)), figure(load(relay, **how))) for _ in range(runs)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name:<44} gateway {ours:{show}}   relay {theirs:{show}}   ratio {ours / theirs:.2f}", flush=True)
    return ours, theirs


def added(name: str, gateway: str, relay: str, part: str, quantile: str, runs: int, **how: Any) -> None:
    """Milliseconds that the gateway adds to the relay's own."""
    ours, theirs = compare(name, gateway, relay, lambda f: float(f[part][quantile]) * 1e3, ".3f", runs, **how)
    print(f"{'':<44} added {ours - theirs:.3f} ms", flush=True)


def measure(gateway: str, relay: str, seconds: float, runs: int) -> None:
    def rate(found: dict[str, Any]) -> float:
        return float(found["requests"] / found["seconds"])

    def events(found: dict[str, Any]) -> float:
        return float(found["events"] / found["seconds"])

    compare("JSON, 32 connections, requests/s", gateway, relay, rate, ",.0f", runs, connections=32, seconds=seconds)
    for quantile in ("p50", "p99"):
        title = f"JSON, 1 connection, latency {quantile}, ms"
        added(title, gateway, relay, "latency", quantile, runs, connections=1, seconds=seconds)
    title = "stream, 1 connection, first byte p50, ms"
    added(title, gateway, relay, "first_byte", "p50", runs, connections=1, seconds=seconds, stream=True)
    for streams in (100, 300):
        title = f"{streams} streams, chunks/s"
        compare(title, gateway, relay, events, ",.0f", runs, connections=streams, seconds=seconds, stream=True)


@contextmanager
def everything() -> Iterator[tuple[str, str, GatewayProcess]]:
    """URLs of gateway and relay, and the gateway itself."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farebox-bench-")))
        broker = Kafka(folder)
        broker.start()
        stack.callback(broker.stop)
        uvloop.run(topics.create(broker.bootstrap, replication=1))
        budget = FakeBudget(secret=SECRET)
        budget.open(KEY, limit=1_000_000 * NANO)
        budget.start()
        stack.callback(budget.stop)
        provider, relay = free_port(), free_port()
        stack.enter_context(program("fast_provider.py", "--port", str(provider)))
        provider_url = f"http://127.0.0.1:{provider}"
        stack.enter_context(program("passthrough.py", "--port", str(relay), "--provider", provider_url))
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
        yield gateway.url, f"http://127.0.0.1:{relay}", gateway


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with everything() as (gateway_url, relay_url, gateway):
        measure(gateway_url, relay_url, given.seconds, given.runs)
        metrics = httpx.get(f"{gateway.ops_url}/metrics", trust_env=False).text
        for line in metrics.splitlines():
            if line.startswith(("farebox_gateway_unpublished_events ", "process_resident_memory_bytes ")):
                print(line)


if __name__ == "__main__":
    main()
