"""A gateway process between the real Kafka, the demo provider and a budget service of one budget."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import run_apart
from farebox import topics
from farebox_local.parts import ServedPart, provider_part
from farebox_local.ports import free_port
from support.fake_budget import FakeBudget
from support.gateway import SECRET, GatewayProcess
from support.provider import DemoProvider


@pytest.fixture(scope="session")
def made_topics(kafka: str) -> str:
    run_apart(topics.create(kafka, replication=1))
    return kafka


@pytest.fixture(scope="session")
def _provider(server_folder: Path) -> Iterator[ServedPart]:
    part = provider_part(server_folder, free_port())
    part.start()
    yield part
    part.stop()


@pytest.fixture
def provider(_provider: ServedPart) -> Iterator[DemoProvider]:
    demo = DemoProvider(_provider.url)
    yield demo
    demo.reset()


@pytest.fixture
def user() -> str:
    """A user of this test alone, so that its events are told from others'."""
    return f"user-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def api_key() -> str:
    return f"fbx_{uuid.uuid4().hex}"


@pytest.fixture
def budget(request: pytest.FixtureRequest, api_key: str, user: str) -> Iterator[FakeBudget]:
    """Its limit and mode come from `@pytest.mark.parametrize("budget", [{...}], indirect=True)`."""
    fake = FakeBudget(secret=SECRET, **getattr(request, "param", {}))
    fake.add_key(api_key, user)
    fake.start()
    yield fake
    fake.stop()


GatewayFactory = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(
    made_topics: str, budget: FakeBudget, provider: DemoProvider, tmp_path: Path
) -> Iterator[GatewayFactory]:
    """`start_gateway(setting="value")` is a gateway that is ready."""
    started: list[GatewayProcess] = []

    def start(**settings: Any) -> GatewayProcess:
        process = GatewayProcess(
            tmp_path,
            kafka=settings.pop("kafka", made_topics),
            budget_url=budget.url,
            provider_url=settings.pop("provider_url", provider.url),
            settings=settings,
        )
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def gateway(start_gateway: GatewayFactory) -> GatewayProcess:
    return start_gateway()
