"""`make up BACKGROUND=1`, `make down` and what they promise, by the commands behind them."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from farebox_local.process import noted


class Machine:
    """Someone at a terminal, with a state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.screen = ""

    def run(self, *words: str) -> int:
        """`python -m farebox_local …`; its exit code. What it printed is on the screen."""
        done = subprocess.run(  # noqa: S603 - the command under test
            [sys.executable, "-m", "farebox_local", "--folder", str(self.folder), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")},
        )
        self.screen = done.stdout
        return done.returncode

    @property
    def stack(self) -> dict[str, Any]:
        stack: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return stack

    @property
    def notes(self) -> list[Path]:
        return list((self.folder / "run").glob("*.pid"))


@pytest.fixture(scope="module")
def machine(server_folder: Path) -> Iterator[Machine]:
    machine = Machine(server_folder / "make-up")
    try:
        assert machine.run("up", "--background") == 0, machine.screen
        yield machine
    finally:
        machine.run("down")


def test_programs_find_everything_in_stack_json(machine: Machine) -> None:
    stack = machine.stack
    assert set(stack) == {
        *("gateway_url", "api_key", "admin_token", "kafka_bootstrap", "postgres_dsn"),
        *("mail_url", "webhook_url", "provider_url", "services"),
    }
    assert set(stack["services"]) == {"gateway", "metering", "budget", "notifier"}
    for service in stack["services"].values():
        assert httpx.get(service["metrics_url"]).status_code == 200


def test_the_printed_curl_line_gets_an_answer(machine: Machine) -> None:
    command = machine.screen[machine.screen.index("curl -i") : machine.screen.index("Ctrl-C")].replace("\\\n", "")
    words = shlex.split(command)
    headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H")
    answer = httpx.post(words[2], headers=headers, content=words[words.index("-d") + 1])
    assert answer.json()["choices"][0]["message"]["content"]


def test_the_sdk_needs_only_address_and_key(machine: Machine) -> None:
    client = openai.OpenAI(base_url=f"{machine.stack['gateway_url']}/v1", api_key=machine.stack["api_key"])
    with client:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
    assert answer.usage


@pytest.mark.parametrize("words", [("up",), ("up", "--background")])
def test_a_second_up_says_that_it_runs_already(machine: Machine, words: tuple[str, ...]) -> None:
    assert machine.run(*words) == 1
    assert "runs already" in machine.screen


def test_up_again_keeps_key_and_data(machine: Machine) -> None:
    before = machine.stack
    spent = _requests(before)
    assert machine.run("down") == 0
    assert not (machine.folder / "stack.json").exists()
    assert machine.notes == []
    assert machine.run("up", "--background") == 0, machine.screen
    assert (machine.stack["api_key"], machine.stack["gateway_url"]) == (before["api_key"], before["gateway_url"])
    assert _requests(machine.stack) >= spent > 0


def test_down_ends_what_a_killed_supervisor_left_behind(machine: Machine) -> None:
    supervisor = noted(machine.folder / "run" / "supervisor")
    assert supervisor is not None
    supervisor.kill()
    assert any(noted(note) for note in machine.notes)
    assert machine.run("down") == 0
    assert machine.notes == []
    assert not (machine.folder / "stack.json").exists()


def _requests(stack: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {stack['admin_token']}"}
    answer = httpx.get(f"{stack['gateway_url']}/api/usage/summary", params={"account": "demo"}, headers=headers)
    return int(answer.raise_for_status().json()["requests"])
