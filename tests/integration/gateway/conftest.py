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
from support.fake_budget import FakeAccount, FakeBudget
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


@pytest.fixture(scope="session")
def _shared_service() -> Iterator[FakeBudget]:
    service = FakeBudget(secret=SECRET)
    service.start()
    yield service
    service.close()


@pytest.fixture(scope="session")
def gateway(
    made_topics: str, _shared_service: FakeBudget, _provider: ServedPart, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One gateway for all tests that leave it as it was. Starting one takes seconds."""
    folder = tmp_path_factory.mktemp("gateway")
    process = GatewayProcess(
        folder, kafka=made_topics, budget_url=_shared_service.url, provider_url=_provider.url, settings={}, upstream={}
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture
def account(_shared_service: FakeBudget, api_key: str, user: str, request: pytest.FixtureRequest) -> FakeAccount:
    """This test's budget behind `gateway`; `@pytest.mark.parametrize("account", [{...}], indirect=True)` sets it up."""
    return _shared_service.open(api_key, user=user, **getattr(request, "param", {}))


@pytest.fixture
def own_service(api_key: str, user: str, request: pytest.FixtureRequest) -> Iterator[FakeBudget]:
    """A budget service that a test may stop. Its parameter sets up the budget of `api_key`."""
    service = FakeBudget(secret=SECRET)
    service.open(api_key, user=user, **getattr(request, "param", {}))
    service.start()
    yield service
    service.close()


@pytest.fixture
def own_account(own_service: FakeBudget) -> FakeAccount:
    return next(iter(own_service.accounts.values()))


GatewayFactory = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(
    made_topics: str, own_service: FakeBudget, provider: DemoProvider, tmp_path: Path
) -> Iterator[GatewayFactory]:
    """`start_gateway(setting="value")` is a ready gateway of the test's own.

    `upstream={...}` changes its upstreams, and `place="…"` puts its files apart from another's.
    """
    started: list[GatewayProcess] = []

    def start(**settings: Any) -> GatewayProcess:
        folder = tmp_path / settings.pop("place", "gateway")
        folder.mkdir(exist_ok=True)
        process = GatewayProcess(
            folder,
            kafka=settings.pop("kafka", made_topics),
            budget_url=own_service.url,
            provider_url=settings.pop("provider_url", provider.url),
            upstream=settings.pop("upstream", {}),
            settings=settings,
        )
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def own_gateway(start_gateway: GatewayFactory) -> GatewayProcess:
    """A gateway that a test may kill."""
    return start_gateway()
