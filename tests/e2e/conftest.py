"""The whole of Farebox for end-to-end tests: real servers, all four services, sinks and demo provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox_local.stack import Plan, Stack
from support.admin import Admin
from support.provider import DemoProvider
from support.sinks import MailSink, WebhookSink


@pytest.fixture(scope="session")
def stack(server_folder: Path) -> Iterator[Stack]:
    """The run's stack; a test that stops or kills a part of it starts that part again."""
    stack = Stack(Plan(server_folder / "stack", postgres_settings={"fsync": "off", "synchronous_commit": "off"}))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def gateway_url(stack: Stack) -> str:
    """The gateway's root; the OpenAI SDK's base URL is `<gateway_url>/v1`."""
    return stack.around.url("gateway")


@pytest.fixture(scope="session")
def admin(stack: Stack, gateway_url: str) -> Iterator[Admin]:
    """The platform administrator at `/api`."""
    admin = Admin(gateway_url, stack.around.secrets.of("admin_token"))
    yield admin
    admin.close()


@pytest.fixture
def provider(stack: Stack) -> Iterator[DemoProvider]:
    """The demo provider; its bill begins with this test, its defaults end with it."""
    provider = DemoProvider(stack.around.url("provider"))
    yield provider
    provider.reset()


@pytest.fixture
def mail_sink(stack: Stack) -> MailSink:
    """The mail sink, empty."""
    sink = MailSink(stack.around.url("mail"), stack.around.port("smtp"))
    sink.clear()
    return sink


@pytest.fixture(scope="session")
def webhook_sink(stack: Stack) -> WebhookSink:
    """The webhook sink; use a hook name of the test's own."""
    return WebhookSink(stack.around.url("webhooks"))
