"""The mail and webhook sinks as tests see them."""

from typing import Any

import httpx


class MailSink:
    """A running mail sink: SMTP on `smtp_port` of loopback, its HTTP side at `url`."""

    def __init__(self, url: str, smtp_port: int) -> None:
        self.url = url
        self.smtp_port = smtp_port

    def messages(self) -> list[dict[str, Any]]:
        """Every mail, oldest first: n, from, to, subject, headers (lower case), text, html."""
        items: list[dict[str, Any]] = httpx.get(f"{self.url}/messages", trust_env=False).json()["items"]
        return items

    def clear(self) -> None:
        """Forget every mail."""
        httpx.delete(f"{self.url}/messages", trust_env=False).raise_for_status()

    def refuse(self, status: int, times: int = 1) -> None:
        """Answer the next mails with this SMTP status."""
        order = {"status": status, "times": times}
        httpx.put(f"{self.url}/refusal", json=order, trust_env=False).raise_for_status()


class WebhookSink:
    """A running webhook sink; every name is an endpoint of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def endpoint(self, name: str) -> str:
        """Where to send webhooks of that name."""
        return f"{self.url}/hooks/{name}"

    def received(self, name: str) -> list[dict[str, Any]]:
        """Everything that came, oldest first: at, verified, status (answered), headers, body."""
        items: list[dict[str, Any]] = httpx.get(self.endpoint(name), trust_env=False).json()["items"]
        return items

    def register(self, name: str, secret: str) -> None:
        """Check what comes under that name against this secret (`whsec_…`)."""
        httpx.put(self.endpoint(name), json={"secret": secret}, trust_env=False).raise_for_status()

    def refuse(self, name: str, status: int, times: int = 1) -> None:
        """Answer the next webhooks of that name with this status."""
        order = {"refusal": {"status": status, "times": times}}
        httpx.put(self.endpoint(name), json=order, trust_env=False).raise_for_status()
