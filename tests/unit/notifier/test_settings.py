import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from farebox.errors import Invalid
from notifier.settings import NotifierSettings

GOOD = {
    "PORT": "8000",
    "OPS_PORT": "8001",
    "KAFKA_BOOTSTRAP": "localhost:9092",
    "SERVICE_SECRET": "s" * 32,
    "POSTGRES_DSN": "postgresql://notifier@localhost/farebox",
    "SMTP_HOST": "relay",
    "MAIL_FROM": "Farebox <alerts@example.com>",
    "CONSOLE_URL": "https://console.example.com",
    "SEALING_KEY": Fernet.generate_key().decode(),
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(f"FAREBOX_{name}", value)
    return monkeypatch


def problems() -> str:
    with pytest.raises(Invalid) as refused:
        NotifierSettings.read()
    return str(refused.value)


def test_defaults_are_the_strict_ones(environment: pytest.MonkeyPatch) -> None:
    settings = NotifierSettings.read()
    assert (settings.smtp_tls, settings.smtp_port, settings.webhook_allowed_networks) == ("starttls", 587, ())


def test_networks_are_read_from_a_list(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FAREBOX_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8, fd00::/8")
    assert [str(each) for each in NotifierSettings.read().webhook_allowed_networks] == ["127.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAIL_FROM", "nobody"),
        ("MAIL_FROM", "Farebox <a@example.com>\r\nBcc: b@example.com"),
        ("SEALING_KEY", "short"),
        ("CONSOLE_URL", "javascript:alert(1)"),
        ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.1/8"),
        ("SMTP_PASSWORD_FILE", "/nowhere"),
        ("SMTP_TLS", "maybe"),
        ("DELIVERY_TIMEOUT_S", "0"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(f"FAREBOX_{name}", value)
    assert problems().startswith(f"FAREBOX_{name}: ")


def test_a_password_never_travels_in_the_clear(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    environment.setenv("FAREBOX_SMTP_USER", "farebox")
    environment.setenv("FAREBOX_SMTP_PASSWORD_FILE", str(tmp_path / "password"))
    assert NotifierSettings.read().smtp_password() == "secret"
    environment.setenv("FAREBOX_SMTP_TLS", "none")
    assert "FAREBOX_SMTP_TLS must not be none" in problems()


def test_a_lease_outlives_the_attempt_it_guards(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FAREBOX_DELIVERY_LEASE_S", "15")
    assert "FAREBOX_DELIVERY_LEASE_S" in problems()


def test_check_lists_every_problem_and_no_secret() -> None:
    environment = {f"FAREBOX_{name}": value for name, value in GOOD.items() if name != "SMTP_HOST"}
    environment |= {"FAREBOX_SEALING_KEY": "leak-me", "FAREBOX_PORT": "x"}
    command = [sys.executable, "-m", "notifier", "--check"]
    done = subprocess.run(  # noqa: S603 - the service itself
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    named = sorted(line.partition(":")[0] for line in done.stderr.splitlines())
    assert named == ["FAREBOX_PORT", "FAREBOX_SEALING_KEY", "FAREBOX_SMTP_HOST"]
    assert "leak-me" not in done.stderr
