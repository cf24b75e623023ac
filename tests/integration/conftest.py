"""What integration tests share: topics of their own on the run's broker."""

from collections.abc import Awaitable, Callable

import pytest

from support.topic import create_topic


@pytest.fixture
def topic(kafka: str) -> Callable[..., Awaitable[str]]:
    """`await topic("usage", partitions=3)` creates a topic that no other test uses; returns its name."""

    async def create(name: str = "test", *, partitions: int = 1, compacted: bool = False) -> str:
        return await create_topic(kafka, name, partitions=partitions, compacted=compacted)

    return create
