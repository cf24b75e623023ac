"""The parts of the stack that are Python programs with an HTTP side: demo provider, sinks and services."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import httpx

from farebox_local.ports import LOOPBACK
from farebox_local.process import Process

_READY_WITHIN_S = 60.0


class Part(Protocol):
    """What the supervisor needs of a part."""

    @property
    def process(self) -> Process:
        """The process it runs as."""
        ...

    def spawn(self) -> None:
        """Start it without waiting for it."""
        ...

    def wait_ready(self) -> None:
        """Return once it can be used. Raises PartFailed if it does not get there."""
        ...

    def answers(self) -> bool:
        """Whether it can be used now."""
        ...


class ServedPart:
    """`python -m <module> …`, ready when `GET <ready_url>` answers 200. Keeps its port over restarts."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        url: str,
        ready_url: str,
        folder: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.ready_url = ready_url
        self.process = Process(
            name,
            [sys.executable, "-m", *arguments],
            folder=folder,
            env=env,
            # A service gives requests under way 20 s; a moment more, and it would not have ended by itself.
            stop_within_s=25.0,
        )

    def spawn(self) -> None:
        """Start it without waiting for it."""
        self.process.spawn()

    def wait_ready(self) -> None:
        """Return once it says that it is ready. Raises PartFailed if it does not get there."""
        self.process.wait_ready(self.answers, _READY_WITHIN_S)

    def start(self) -> None:
        """`spawn`, then `wait_ready`."""
        self.spawn()
        self.wait_ready()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL, as when the machine fails."""
        self.process.kill()

    def answers(self) -> bool:
        """Whether it says that it is ready."""
        try:
            return httpx.get(self.ready_url, timeout=2.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def provider_part(folder: Path, port: int) -> ServedPart:
    """The demo LLM provider; its bill is `<folder>/provider/bill.jsonl`."""
    url = f"http://{LOOPBACK}:{port}"
    arguments = ("farebox_local.provider", "--port", str(port), "--bill", str(folder / "provider" / "bill.jsonl"))
    return ServedPart("provider", arguments, url=url, ready_url=f"{url}/healthz", folder=folder)


def mail_part(folder: Path, port: int, smtp_port: int) -> ServedPart:
    """The mail sink; SMTP on `smtp_port`, its page on `port`, the mails in `<folder>/mail`."""
    url = f"http://{LOOPBACK}:{port}"
    ports = ("--port", str(port), "--smtp-port", str(smtp_port))
    arguments = ("farebox_local.mail", *ports, "--folder", str(folder / "mail"))
    return ServedPart("mail", arguments, url=url, ready_url=f"{url}/healthz", folder=folder)


def webhooks_part(folder: Path, port: int) -> ServedPart:
    """The webhook sink; what it got is in `<folder>/webhooks`."""
    url = f"http://{LOOPBACK}:{port}"
    arguments = ("farebox_local.webhooks", "--port", str(port), "--folder", str(folder / "webhooks"))
    return ServedPart("webhooks", arguments, url=url, ready_url=f"{url}/healthz", folder=folder)
