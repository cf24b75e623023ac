"""How the four services are started here: ports, settings, and the gateway's list of upstreams."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farebox_local.databases import SERVICES_WITH_TABLES, role_of
from farebox_local.parts import ServedPart
from farebox_local.ports import LOOPBACK, KeptPorts
from farebox_local.postgres import GivenPostgres
from farebox_local.secrets import Secrets

DATABASE = "farebox"
SERVICES = ("budget", "metering", "notifier", "gateway")
_DEMO_ORDERS = (
    "prompt-tokens",
    "completion-tokens",
    "cached-tokens",
    "latency-ms",
    "chunk-delay-ms",
    "fault",
    "served-model",
)
_OPENAI_MODELS = ("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*")
_ANTHROPIC_MODELS = ("claude-*",)
_DEMO_UPSTREAMS = (
    ("demo-openai", "openai", "openai", _OPENAI_MODELS),
    ("demo-anthropic", "anthropic", "anthropic", _ANTHROPIC_MODELS),
    ("demo-google", "google", "openai", ("gemini-*",)),
    ("demo-deepseek", "deepseek", "openai", ("deepseek-*",)),
)
_REAL_UPSTREAMS = (
    ("OPENAI_API_KEY", "openai", "openai", "https://api.openai.com/v1", _OPENAI_MODELS),
    ("ANTHROPIC_API_KEY", "anthropic", "anthropic", "https://api.anthropic.com/v1", _ANTHROPIC_MODELS),
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where everything is that services need.

    `extra` holds settings on top, by service or replica; `upstream` goes on top of what the routes say of the demo
    provider. Services reach the parts in `doors` at the port `<part>-door`.
    """

    folder: Path
    kafka_bootstrap: str
    postgres: GivenPostgres
    extra: Mapping[str, Mapping[str, str]]
    upstream: Mapping[str, object] = field(default_factory=dict)
    doors: Collection[str] = ()

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.folder)

    def port(self, name: str) -> int:
        """The port a part has by name: `smtp`, `budget`, `budget-ops` …"""
        return KeptPorts(self.folder).noted(name)

    def url(self, name: str) -> str:
        """The root of a part's HTTP side."""
        return f"http://{LOOPBACK}:{self.port(name)}"

    def reached(self, name: str) -> str:
        """The root of a part's HTTP side as services know it: itself, or its door."""
        return self.url(door(name) if name in self.doors else name)

    def database(self, service: str) -> str:
        """The DSN of a service's role as the service knows it."""
        role = role_of(service)
        server = self.postgres
        if "postgres" in self.doors:
            server = GivenPostgres(f"postgresql://{LOOPBACK}:{self.port(door('postgres'))}")
        return server.dsn(DATABASE, role, self.secrets.of(role))

    @property
    def routes_file(self) -> Path:
        """The gateway's list of upstreams."""
        return self.folder / "routes.json"


def door(name: str) -> str:
    """The port's name at which services reach a part through a proxy."""
    return f"{name}-door"


def service_part(around: Surroundings, name: str, service: str) -> ServedPart:
    """One replica of a service; its name is the service's, or that and a number."""
    return ServedPart(
        name,
        (service,),
        url=around.url(name),
        ready_url=f"{around.url(f'{name}-ops')}/healthz/ready",
        folder=around.folder,
        env=settings(around, name, service),
    )


def settings(around: Surroundings, name: str, service: str) -> dict[str, str]:
    """The whole environment of a replica: the machine's, without what was meant for the supervisor, and its own."""
    own = {
        "port": str(around.port(name)),
        "ops_port": str(around.port(f"{name}-ops")),
        "instance": name,
        "kafka_bootstrap": around.kafka_bootstrap,
        "service_secret": around.secrets.of("service_secret"),
        **_SETTINGS[service](around, name),
        **({"postgres_dsn": around.database(service)} if service in SERVICES_WITH_TABLES else {}),
        **around.extra.get(service, {}),
        **(around.extra.get(name, {}) if name != service else {}),
    }
    kept_out = ("FAREBOX_", *(variable for variable, *_ in _REAL_UPSTREAMS))
    machine = {key: value for key, value in os.environ.items() if not key.startswith(kept_out)}
    return machine | {f"FAREBOX_{key.upper()}": value for key, value in own.items()}


def _gateway(around: Surroundings, name: str) -> dict[str, str]:
    return {
        "routes": str(around.routes_file),
        "journal": str(around.folder / "journal" / name),
        "budget_url": around.reached("budget"),
        "metering_url": around.reached("metering"),
        "notifier_url": around.reached("notifier"),
        "admin_token": around.secrets.of("admin_token"),
    }


def _notifier(around: Surroundings, _: str) -> dict[str, str]:
    return {
        "smtp_host": LOOPBACK,
        "smtp_port": str(around.port("smtp")),
        "smtp_tls": "none",
        "mail_from": "Farebox <farebox@localhost>",
        "console_url": around.url("gateway"),
        "sealing_key": f"{around.secrets.of('sealing_key')}=",  # Fernet wants base64 with its padding
        "webhook_allowed_networks": f"{LOOPBACK}/32",
    }


def _nothing(_: Surroundings, __: str) -> dict[str, str]:
    return {}


_SETTINGS = {"gateway": _gateway, "notifier": _notifier, "budget": _nothing, "metering": _nothing}


def write_routes(around: Surroundings) -> None:
    """Write the gateway's list of upstreams, and the keys it names into files."""
    around.routes_file.write_text(json.dumps(_upstreams(around), indent=2) + "\n")


def _upstreams(around: Surroundings) -> list[dict[str, Any]]:
    # The first that serves a model gets the call: a real provider whose key is in the environment goes before the demo.
    real = [
        {"name": name, "provider": name, "dialect": dialect, "base_url": url, "models": models}
        | {"api_key_file": _key_file(around, f"{name}_api_key", os.environ[variable])}
        for variable, name, dialect, url, models in _REAL_UPSTREAMS
        if os.environ.get(variable)
    ]
    demo_key = _key_file(around, "demo_provider_key", around.secrets.of("demo_provider_key"))
    demo = [
        {"name": name, "provider": provider, "dialect": dialect, "base_url": f"{around.reached('provider')}/v1"}
        | {"models": models, "api_key_file": demo_key, "send_attempt_id": True}
        | {"forward_headers": [f"x-demo-{order}" for order in _DEMO_ORDERS], **around.upstream}
        for name, provider, dialect, models in _DEMO_UPSTREAMS
    ]
    return real + demo


def _key_file(around: Surroundings, name: str, key: str) -> str:
    around.secrets.keep(name, key)
    return str(around.secrets.path(name))
