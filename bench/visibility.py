"""How soon a call is seen: its cost in the balance, its threshold at a webhook, while the whole of Farebox is at work.

    uv run python bench/visibility.py [--per-s 1000] [--probes 60]

All of Farebox on servers of its own, one process a service, under a steady load through one hard budget. Beside the
load, one probe after the other: a call of a user whose budget it takes over a threshold. Measured from the end of the
call's answer until `GET /api/balances` shows it, and until the webhook's first delivery; and from the crossing, as the
event states its time, to that delivery.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from farebox_local.services import door
from farebox_local.stack import Plan, Stack

BENCH: Final = Path(__file__).resolve().parent
PATH: Final = "/v1/chat/completions"
CONNECTIONS: Final = 64
WITHIN_S: Final = 30.0
POLL_S: Final = 0.005


class AdminClient:
    """The administrator, and the caller of probes."""

    def __init__(self, stack: Stack) -> None:
        token = stack.around.secrets.of("admin_token")
        self.gateway = stack.around.url("gateway")
        self.sink = f"{stack.around.url('webhooks')}/hooks/bench"
        self._client = httpx.Client(timeout=WITHIN_S, trust_env=False)
        self._admin = {"authorization": f"Bearer {token}"}

    def made(self, what: str, **body: Any) -> dict[str, Any]:
        answer = self._client.post(f"{self.gateway}/api/{what}", json=body, headers=self._admin)
        answer.raise_for_status()
        return dict(answer.json())

    def user(self, name: str, limit: str) -> str:
        """A user with a hard budget and a threshold that any call reaches; its API key."""
        self.made("accounts", id=name, kind="user", parent="bench", name=name)
        thresholds = [{"severity": "warning", "percent": "0.0001"}]
        budget = {"name": "own", "limit": limit, "mode": "hard", "thresholds": thresholds}
        self.made("budgets", account=name, window={"kind": "month"}, **budget)
        return str(self.made("keys", account=name, name="bench")["api_key"])

    def call(self, key: str) -> tuple[float, float]:
        """One call; when its answer had ended, on the monotonic and on the wall clock."""
        body = {"model": "gpt-4o", "max_tokens": 256, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"authorization": f"Bearer {key}"}
        self._client.post(f"{self.gateway}{PATH}", json=body, headers=headers).raise_for_status()
        return time.monotonic(), time.time()

    def seconds_until_seen(self, name: str, since: float) -> float:
        while time.monotonic() < since + WITHIN_S:
            answer = self._client.get(f"{self.gateway}/api/balances", params={"account": name}, headers=self._admin)
            if float(answer.raise_for_status().json()["items"][-1]["spent"]):
                return time.monotonic() - since
            time.sleep(POLL_S)
        raise SystemExit(f"the call of {name} was not in its balance within {WITHIN_S:.0f} s")

    def first_deliveries(self, names: Sequence[str]) -> dict[str, tuple[float, float]]:
        """By user: when its event says that the threshold was crossed, and when the webhook first came (wall clock)."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            found: dict[str, tuple[float, float]] = {}
            for item in self._client.get(self.sink).json()["items"]:
                user = item["body"]["data"].get("budget", {}).get("account", {}).get("id")
                if user in names and "threshold" in item["body"]["type"]:
                    found.setdefault(user, (_instant(item["body"]["timestamp"]), _instant(item["at"])))
            if len(found) == len(names):
                return found
            time.sleep(0.2)
        raise SystemExit(f"{len(names) - len(found)} webhooks did not come within {WITHIN_S:.0f} s")


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def farebox() -> Iterator[Stack]:
    """Everything, with a provider that is never the limit."""
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as folder, ExitStack() as running:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        stack = Stack(Plan(Path(folder) / "stack", doors=("provider",)))
        running.callback(stack.down)
        port = str(stack.around.port(door("provider")))
        provider = subprocess.Popen([sys.executable, str(BENCH / "fast_provider.py"), "--port", port])  # noqa: S603
        running.callback(provider.wait)
        running.callback(provider.terminate)
        stack.up()
        yield stack


@contextmanager
def load(url: str, key: str, per_s: float, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(BENCH / "load.py"), "--url", f"{url}{PATH}", "--key", key]
    command += ["--connections", str(CONNECTIONS), "--seconds", str(seconds), "--per-s", str(per_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def measure(admin: AdminClient, per_s: float, probes: int) -> None:
    admin.made("accounts", id="bench", kind="org", parent="platform", name="Bench", currency="USD")
    admin.made("channels", account="bench", kind="webhook", url=admin.sink)
    busy = admin.user("busy", "1000000")
    keys = {f"probe-{uuid.uuid4().hex[:8]}": "" for _ in range(probes)}
    keys = {name: admin.user(name, "1000") for name in keys}
    ended: dict[str, float] = {}
    seen: list[float] = []
    seconds = probes * 0.35 + 3.0
    with load(admin.gateway, busy, per_s, seconds) as calling:
        time.sleep(3.0)
        began = time.monotonic()
        for place, (name, key) in enumerate(keys.items()):
            time.sleep(max(0.0, began + place * 0.35 - time.monotonic()))
            at, ended[name] = admin.call(key)
            seen.append(admin.seconds_until_seen(name, at))
        said, _ = calling.communicate()
    done = json.loads(said)
    if done["errors"]:
        raise SystemExit(f"{done['errors']} requests of the load failed")
    deliveries = admin.first_deliveries(list(keys))
    print(f"load: {done['requests'] / done['seconds']:,.0f} requests/s of {per_s:,.0f} asked for")
    spread("request end → balance visible", seen)
    spread("request end → first webhook", [deliveries[name][1] - ended[name] for name in keys])
    spread("threshold crossed → first webhook", [came - crossed for crossed, came in deliveries.values()])


def spread(what: str, seconds: Sequence[float]) -> None:
    marks = statistics.quantiles(seconds, n=100, method="inclusive")
    figures = ", ".join(f"p{q} {marks[q - 1] * 1e3:,.0f} ms" for q in (50, 95, 99))
    print(f"{what:44} {figures}   ({len(seconds)} probes)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--per-s", type=float, default=1_000)
    parser.add_argument("--probes", type=int, default=60)
    arguments = parser.parse_args()
    with farebox() as stack:
        measure(AdminClient(stack), arguments.per_s, arguments.probes)


if __name__ == "__main__":
    main()
