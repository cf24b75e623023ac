from pathlib import Path
from typing import Any

import orjson
import pytest

from farebox.errors import Invalid
from gateway.settings import GatewaySettings
from gateway.upstreams.directory import Directory, read

UPSTREAM = {
    "name": "openai",
    "provider": "openai",
    "dialect": "openai",
    "base_url": "https://api.openai.com/v1",
    "models": ["gpt-4o", "gpt-4o-*"],
}


def routes(folder: Path, *upstreams: Any) -> Path:
    path = folder / "routes.json"
    path.write_bytes(orjson.dumps(upstreams))
    return path


def directory(folder: Path, *upstreams: Any) -> Directory:
    return read(routes(folder, *upstreams))


def test_every_problem_is_listed_at_once_those_of_the_routes_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAREBOX_ROUTES", str(routes(tmp_path, UPSTREAM | {"dialect": "klingon", "models": []})))
    (tmp_path / "a file").touch()
    monkeypatch.setenv("FAREBOX_JOURNAL", str(tmp_path / "a file" / "journal"))
    monkeypatch.setenv("FAREBOX_ADMIN_TOKEN", "short")
    with pytest.raises(Invalid) as found:
        GatewaySettings.read()
    told = "\n".join(found.value.problems)
    for word in ("PORT", "BUDGET_URL", "JOURNAL", "ADMIN_TOKEN", "dialect", "models"):
        assert word in told
    assert "short" not in told


@pytest.mark.parametrize(
    "change",
    [
        {"forward_headers": ["authorization"]},
        {"forward_headers": ["Upper-Case"]},
        {"api_key_file": "/nowhere/key"},
        {"timeout_s": 0},
        {"base_url": "ftp://x"},
        {"unknown": 1},
    ],
)
def test_an_upstream_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        directory(tmp_path, UPSTREAM | change)


def test_an_upstream_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="listed twice"):
        directory(tmp_path, UPSTREAM, UPSTREAM)


@pytest.mark.parametrize(
    ("model", "served"),
    [("gpt-4o", True), ("gpt-4o-mini", True), ("gpt-4", False), ("https://evil", False), ("*", False)],
)
def test_models_go_where_the_list_says_and_nowhere_else(tmp_path: Path, model: str, served: bool) -> None:
    assert (directory(tmp_path, UPSTREAM).find("openai", model) is not None) is served


def test_the_first_upstream_that_serves_a_model_gets_it(tmp_path: Path) -> None:
    found = directory(tmp_path, UPSTREAM | {"name": "a", "models": ["gpt-*"]}, UPSTREAM).find("openai", "gpt-4o")
    assert found is not None
    assert found.name == "a"


def test_a_model_is_looked_for_in_the_callers_dialect(tmp_path: Path) -> None:
    assert directory(tmp_path, UPSTREAM).find("anthropic", "gpt-4o") is None


def test_a_pattern_is_listed_as_the_priced_models_that_fit_it(tmp_path: Path) -> None:
    listed = directory(tmp_path, UPSTREAM).models([("openai", ("gpt-4", "gpt-4o-mini"))])
    assert [model for model, _ in listed] == ["gpt-4o", "gpt-4o-mini"]
