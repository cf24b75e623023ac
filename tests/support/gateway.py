"""A gateway process of a test's own, with its settings, its journal and a way to read what it published."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from aiokafka import AIOKafkaConsumer
from prometheus_client.parser import text_string_to_metric_families

from farebox.events import RequestCompleted, decode
from farebox.topics import REQUEST_COMPLETED
from farebox_local.parts import ServedPart
from farebox_local.ports import free_port

SECRET = "of-the-tests-and-of-nobody-else-32"
ADMIN_TOKEN = "admin-token-of-the-tests"


class GatewayProcess(ServedPart):
    """`python -m gateway`, ready when it says so. Settings as in the environment, without `FAREBOX_`, lower case."""

    def __init__(
        self,
        folder: Path,
        *,
        kafka: str,
        budget_url: str,
        provider_url: str,
        settings: Mapping[str, str],
        upstream: Mapping[str, Any],
    ) -> None:
        port, ops_port = free_port(), free_port()
        url = f"http://127.0.0.1:{port}"
        chosen = {
            "port": str(port),
            "ops_port": str(ops_port),
            "kafka_bootstrap": kafka,
            "service_secret": SECRET,
            "instance": "gateway-test",
            "body_limit_bytes": "65536",
            "routes": str(routes_file(folder, provider_url, upstream)),
            "journal": str(folder / "journal"),
            "budget_url": budget_url,
            "metering_url": budget_url,
            "notifier_url": budget_url,
            "admin_token": ADMIN_TOKEN,
            **settings,
        }
        env = {f"FAREBOX_{name.upper()}": value for name, value in chosen.items()}
        self.journal = Path(chosen["journal"])
        self.ops_url = f"http://127.0.0.1:{ops_port}"
        super().__init__(
            "gateway",
            ("gateway",),
            url=url,
            ready_url=f"{self.ops_url}/healthz/ready",
            folder=folder,
            env={**os.environ, **env},
        )

    def health(self, which: str) -> httpx.Response:
        """`live` or `ready`."""
        return httpx.get(f"{self.ops_url}/healthz/{which}", trust_env=False)

    def metric(self, name: str, **labels: str) -> float:
        """A sample of `/metrics`; 0 if there is none yet."""
        text = httpx.get(f"{self.ops_url}/metrics", trust_env=False).text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return next((each.value for each in samples if (each.name, each.labels) == (name, labels)), 0.0)

    def client(self, api_key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers={"authorization": f"Bearer {api_key}"}, timeout=30, trust_env=False
        )


def routes_file(folder: Path, provider_url: str, more: Mapping[str, Any]) -> Path:
    """Both dialects of one demo provider."""
    key = folder / "provider.key"
    key.write_text("sk-of-the-provider\n")
    shared = {"base_url": f"{provider_url}/v1", "api_key_file": str(key), "send_attempt_id": True, **more}
    forwarded = [f"x-demo-{n}" for n in ("prompt-tokens", "completion-tokens", "latency-ms", "chunk-delay-ms", "fault")]
    routes = [
        {
            "name": "demo",
            "provider": "openai",
            "dialect": "openai",
            "models": ["gpt-4o", "gpt-4o-mini", "unpriced-model"],
            "forward_headers": forwarded,
            **shared,
        },
        {
            "name": "demo-anthropic",
            "provider": "anthropic",
            "dialect": "anthropic",
            "models": ["claude-*"],
            "forward_headers": forwarded,
            **shared,
        },
    ]
    path = folder / "routes.json"
    path.write_text(json.dumps(routes))
    return path


async def chat(
    gateway: GatewayProcess, api_key: str, *, orders: Mapping[str, str] | None = None, **body: Any
) -> httpx.Response:
    """One chat call with orders to the demo provider. Never retried."""
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Xin chào"}], **body}
    headers = {f"x-demo-{name}": value for name, value in (orders or {}).items()}
    async with gateway.client(api_key) as client:
        return await client.post("/v1/chat/completions", json=asked, headers=headers)


async def published(bootstrap: str, count: int, *, user: str) -> list[RequestCompleted]:
    """The events of one user in the order of their attempts, once there are `count` of them."""
    found: dict[UUID, RequestCompleted] = {}
    consumer = AIOKafkaConsumer(
        REQUEST_COMPLETED.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None
    )
    async with consumer:
        while len(found) < count:
            record = await consumer.getone()
            event = decode(headers=dict(record.headers), value=record.value).event
            if isinstance(event, RequestCompleted) and event.principal.user == user:
                found[event.attempt_id] = event
    return [found[attempt] for attempt in sorted(found)]


def settled(events: Iterable[RequestCompleted]) -> int:
    """The money that they settled in the budgets that held them."""
    return sum(event.held.settled.money for event in events if event.held and event.held.windows)
