import ssl
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from farebox.clock import SystemClock
from farebox.events import value_of
from farebox.ids import new_id
from notifier.address import Address, Policy
from notifier.channel import Kind
from notifier.delivery import DeliveryResult, Job, Verdict
from notifier.seal import Seal
from notifier.signature import new_secret
from notifier.webhook import WebhookSender
from support.alerts import NOON, crossed
from support.certificates import Authority
from support.receivers import webhook_endpoint

SEAL = Seal(Fernet.generate_key().decode())


async def posted(url: str, tls: ssl.SSLContext) -> DeliveryResult:
    """One attempt at a URL whose host, whatever it is, is on loopback; the first address answers nobody."""

    async def resolve(_: str, __: int) -> Sequence[Address]:
        return [ip_address("127.0.0.99"), ip_address("127.0.0.1")]

    alert = crossed()
    job = Job(
        delivery_id=new_id(),
        event_id=new_id(),
        channel_id=new_id(),
        kind=Kind.WEBHOOK,
        number=1,
        type=alert.type,
        occurred_at=NOON,
        event=value_of(alert).decode(),
        recipients=(),
        accepted=(),
        url=url,
        sealed_secrets=(SEAL.close(new_secret()),),
    )
    policy = Policy((ip_network("127.0.0.0/8"),))
    async with WebhookSender(
        policy=policy, resolve=resolve, seal=SEAL, clock=SystemClock(), timeout_s=5, tls=tls
    ) as sender:
        return await sender.send(job)


@pytest.mark.parametrize(
    ("certified", "expected"),
    [
        ("hooks.example", DeliveryResult(Verdict.ACCEPTED, 204)),
        ("127.0.0.1", DeliveryResult(Verdict.RETRY, error="tls_failed")),
        ("evil.example", DeliveryResult(Verdict.RETRY, error="tls_failed")),
    ],
)
async def test_the_certificate_must_be_the_hosts_though_the_connection_is_to_an_address(
    certified: str, expected: DeliveryResult, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    async with webhook_endpoint(authority.server(certified)) as hook:
        port = hook.url.rpartition(":")[2]
        assert await posted(f"https://hooks.example:{port}", authority.client()) == expected
    if expected.verdict is Verdict.ACCEPTED:
        assert hook.headers[0]["host"] == f"hooks.example:{port.removesuffix('/hook')}"
