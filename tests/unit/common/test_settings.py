"""A service is told by its environment, or told everything that is wrong with it."""

from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from farebox.errors import Invalid
from farebox.settings import ServiceSettings, StoreSettings

SECRET = "s" * 32
GOOD = {
    "FAREBOX_PORT": "8080",
    "FAREBOX_OPS_PORT": "9090",
    "FAREBOX_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "FAREBOX_SERVICE_SECRET": SECRET,
    "FAREBOX_POSTGRES_DSN": "postgresql://budget:password@127.0.0.1/farebox",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with nothing of Farebox in it."""
    for name in [*GOOD, "FAREBOX_HOST", "FAREBOX_INSTANCE", "FAREBOX_LOG_LEVEL", "FAREBOX_POSTGRES_POOL"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def put(environment: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)


def test_settings_are_read_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    put(environment, GOOD | {"FAREBOX_INSTANCE": "budget-0"})
    settings = StoreSettings.read()
    assert (settings.port, settings.ops_port, settings.instance) == (8080, 9090, "budget-0")
    assert settings.service_secret.get_secret_value() == SECRET


def test_a_missing_variable_is_named_and_so_is_every_other(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid) as refused:
        StoreSettings.read()
    named = {problem.partition(":")[0] for problem in refused.value.problems}
    assert named == set(GOOD)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAREBOX_PORT", "65536"),
        ("FAREBOX_OPS_PORT", "http"),
        ("FAREBOX_SERVICE_SECRET", "short"),
        ("FAREBOX_KAFKA_BOOTSTRAP", ""),
        ("FAREBOX_INSTANCE", ""),
        ("FAREBOX_LOG_LEVEL", "loud"),
        ("FAREBOX_POSTGRES_POOL", "1"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    put(environment, GOOD | {name: value})
    with pytest.raises(Invalid) as refused:
        StoreSettings.read()
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [name]


def test_a_problem_never_shows_a_secret(environment: pytest.MonkeyPatch) -> None:
    put(environment, GOOD | {"FAREBOX_SERVICE_SECRET": "hunter2", "FAREBOX_PORT": "x"})
    with pytest.raises(Invalid) as refused:
        StoreSettings.read()
    assert "hunter2" not in str(refused.value)


def test_settings_show_no_secret_and_do_not_change(environment: pytest.MonkeyPatch) -> None:
    put(environment, GOOD)
    settings = ServiceSettings.read()
    assert SECRET not in repr(settings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.__setattr__("port", 1)
