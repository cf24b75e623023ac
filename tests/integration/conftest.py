"""What integration tests share: topics of their own on the run's broker, the run's demo provider and sinks."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from farebox_local.parts import mail_part, provider_part, webhooks_part
from farebox_local.ports import free_port
from support.provider import DemoProvider
from support.sinks import MailSink, WebhookSink
from support.topic import create_topic


@pytest.fixture
def topic(kafka: str) -> Callable[..., Awaitable[str]]:
    """`await topic("usage", partitions=3)` creates a topic that no other test uses; returns its name."""

    async def create(name: str = "test", *, partitions: int = 1, compacted: bool = False) -> str:
        return await create_topic(kafka, name, partitions=partitions, compacted=compacted)

    return create


@pytest.fixture(scope="session")
def _provider_url(server_folder: Path) -> Iterator[str]:
    part = provider_part(server_folder, free_port())
    part.start()
    yield part.url
    part.stop()


@pytest.fixture
def provider(_provider_url: str) -> Iterator[DemoProvider]:
    """The demo LLM provider; its bill begins with this test, its defaults end with it."""
    provider = DemoProvider(_provider_url)
    yield provider
    provider.reset()


@pytest.fixture(scope="session")
def _mail_sink(server_folder: Path) -> Iterator[MailSink]:
    smtp_port = free_port()
    part = mail_part(server_folder, free_port(), smtp_port)
    part.start()
    yield MailSink(part.url, smtp_port)
    part.stop()


@pytest.fixture
def mail_sink(_mail_sink: MailSink) -> MailSink:
    """The mail sink, empty."""
    _mail_sink.clear()
    return _mail_sink


@pytest.fixture(scope="session")
def webhook_sink(server_folder: Path) -> Iterator[WebhookSink]:
    """The webhook sink; use a hook name of the test's own."""
    part = webhooks_part(server_folder, free_port())
    part.start()
    yield WebhookSink(part.url)
    part.stop()
