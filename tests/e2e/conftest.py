"""The whole of Farebox for end-to-end tests: real servers, all four services, sinks and demo provider."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from farebox_local.stack import Plan, Stack
from support.farebox import Farebox

SETTINGS = {"gateway": {"share_idle_s": "3"}}
"""Idle rights are back soon, so that a test can see that nothing else is held."""


@pytest.fixture(scope="session")
def stack(server_folder: Path) -> Iterator[Stack]:
    """The run's stack; a test that stops or kills a part of it starts that part again."""
    stack = Stack(Plan(server_folder / "stack", settings=SETTINGS, postgres_settings={"fsync": "off"}))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture
async def farebox(stack: Stack) -> AsyncIterator[Farebox]:
    """The running stack as its users see it. The provider's bill begins with the test, its defaults end with it."""
    farebox = Farebox(stack)
    yield farebox
    farebox.provider.reset()
    await farebox.close()
