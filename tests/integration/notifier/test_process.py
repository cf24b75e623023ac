import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from farebox import topics
from farebox.kafka import Producer
from farebox_local.ports import free_port
from notifier.settings import NotifierSettings
from support.alerts import crossed, message
from support.eventually import eventually
from support.notifying import Notifying, notifier_settings, open_notifying, put_down
from support.receivers import Hook, Inbox


class Running:
    """`python -m notifier` with these settings."""

    def __init__(self, settings: NotifierSettings, log: Path) -> None:
        self.settings = settings
        values = settings.model_dump(mode="json", exclude_none=True)
        secrets = ("service_secret", "postgres_dsn", "sealing_key")
        values |= {name: getattr(settings, name).get_secret_value() for name in secrets}
        values |= {"webhook_allowed_networks": "127.0.0.0/8"}
        environment = {f"FAREBOX_{name.upper()}": str(value) for name, value in values.items()}
        with log.open("wb") as output:
            command = [sys.executable, "-m", "notifier"]
            self.process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)  # noqa: S603 - the service itself

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.settings.ops_port}{path}", trust_env=False, timeout=5)

    def ready(self) -> bool:
        return self.get("/healthz/ready").status_code == 200

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=40)


Start = Callable[..., Running]


@pytest.fixture
def start(dsn: str, inbox: Inbox, tmp_path: Path) -> Iterator[Start]:
    """`start(kafka_bootstrap=…)`: a replica of its own process; it ends with the test."""
    with ExitStack() as stack:

        def start(**fields: object) -> Running:
            ports = {"port": free_port(), "ops_port": free_port()}
            running = Running(notifier_settings(dsn, inbox.port, **ports, **fields), tmp_path / f"{ports['port']}.log")
            stack.callback(running.process.wait)
            stack.callback(running.process.kill)
            return running

        yield start


async def test_it_runs_and_ends_gracefully(kafka: str, start: Start, dsn: str, inbox: Inbox) -> None:
    await topics.create(kafka, replication=1)
    running = start(kafka_bootstrap=kafka)
    await eventually(running.ready)
    async with open_notifying(notifier_settings(dsn, inbox.port)) as notifying:
        await notifying.mail_channel(account="alone-here")
    async with Producer(kafka, client_id="budget") as producer:
        event = crossed(path=("platform", "alone-here"))
        await producer.send([message(event, topics.BUDGET_EVENTS.name)], timeout_s=20)
    await eventually(lambda: len(inbox.mails) == 1)
    assert "farebox_notifier_deliveries_total" in running.get("/metrics").text
    assert running.end() == 0


async def test_it_is_alive_but_not_ready_without_kafka(start: Start) -> None:
    running = start(kafka_bootstrap="127.0.0.1:1")
    await eventually(lambda: running.get("/healthz/live").status_code == 200)
    answer = running.get("/healthz/ready")
    assert answer.status_code == 503
    assert any("Kafka" in problem for problem in answer.json()["problems"])
    assert running.end() == 0


async def test_what_a_killed_process_was_sending_is_sent_again_with_the_same_id(
    start: Start, dsn: str, inbox: Inbox, hook: Hook
) -> None:
    hook.hanging = True
    settings = notifier_settings(dsn, inbox.port)
    killed = start(delivery_timeout_s=2, delivery_lease_s=3)
    await eventually(lambda: killed.get("/healthz/live").status_code == 200)
    async with open_notifying(settings) as notifying:
        await notifying.webhook(hook.url)
    event_id = await put_down(settings, crossed())
    await eventually(lambda: hook.at_once == 1)
    killed.end(signal.SIGKILL)
    hook.hanging = False
    hook.release.set()
    async with open_notifying(settings) as other:
        log = await eventually(lambda: delivered(other))
    assert hook.ids() == [str(event_id)] * 2
    assert [attempt["verdict"] for attempt in log] == ["abandoned", "accepted"]


async def delivered(notifying: Notifying) -> list[dict[str, object]]:
    """The log of the newest delivery, once it is delivered."""
    delivery = await notifying.delivery()
    assert delivery["state"] == "delivered"
    return list(delivery["log"])
