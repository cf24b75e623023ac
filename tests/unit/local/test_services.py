"""How services are started locally: their environment, and the gateway's upstreams."""

import json
from pathlib import Path

import pytest

from farebox_local.ports import KeptPorts
from farebox_local.postgres import GivenPostgres
from farebox_local.services import SERVICES, Surroundings, settings, write_routes


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    for name in ("provider", "smtp", *SERVICES, *(f"{service}-ops" for service in SERVICES)):
        KeptPorts(tmp_path).of(name)
    server = GivenPostgres("postgresql://admin:secret@db.example:5433/postgres?sslmode=require")
    return Surroundings(tmp_path, "kafka:9092", server, {"budget": {"log_level": "debug"}})


def upstream_names(around: Surroundings) -> list[str]:
    write_routes(around)
    return [row["name"] for row in json.loads(around.routes_file.read_text())]


def test_a_service_signs_in_as_its_own_role(around: Surroundings) -> None:
    dsn = settings(around, "budget", "budget")["FAREBOX_POSTGRES_DSN"]
    password = around.secrets.of("farebox_budget")
    assert dsn == f"postgresql://farebox_budget:{password}@db.example:5433/farebox?sslmode=require"


def test_the_gateway_is_given_no_database(around: Surroundings) -> None:
    assert "FAREBOX_POSTGRES_DSN" not in settings(around, "gateway", "gateway")


def test_settings_of_the_plan_go_on_top(around: Surroundings) -> None:
    assert settings(around, "budget", "budget")["FAREBOX_LOG_LEVEL"] == "debug"


def test_what_was_meant_for_the_supervisor_reaches_no_service(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAREBOX_POSTGRES_DSN", "postgresql://admin@elsewhere/x")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    environment = settings(around, "gateway", "gateway")
    assert {"FAREBOX_POSTGRES_DSN", "OPENAI_API_KEY"}.isdisjoint(environment)


def test_without_keys_the_demo_provider_plays_every_role(around: Surroundings) -> None:
    assert upstream_names(around) == ["demo-openai", "demo-anthropic", "demo-google", "demo-deepseek"]


def test_a_key_in_the_environment_puts_the_real_provider_first(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    assert upstream_names(around)[:2] == ["openai", "demo-openai"]
    assert around.secrets.path("openai_api_key").read_text() == "sk-real"
    assert "sk-real" not in around.routes_file.read_text()
