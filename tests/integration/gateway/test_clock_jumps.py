"""A wall clock that is set, here or at the budget service, keeps no heartbeat from being heard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from farebox.auth import key_hash
from farebox.ids import new_id
from farebox.leasing import Attributes, GrantRequest, Heartbeat, Need, StartRequest
from gateway.budget_link.service import BudgetService
from gateway.errors import UnknownKey
from support.clock import HandClock
from support.fake_budget import FakeBudget
from support.gateway import SECRET

DAY = timedelta(days=1)
TOKEN_IS_USED_UP = timedelta(minutes=1)
BEAT = Heartbeat(gateway_id="gw", epoch=1)
NOTHING = Need(cost_nano_usd=0, requests=0, tokens=0)


@asynccontextmanager
async def service(budget: FakeBudget, clock: HandClock) -> AsyncIterator[BudgetService]:
    service = BudgetService(budget.url, secret=SECRET, clock=clock)
    try:
        await service.start(StartRequest(gateway_id="gw", last_epoch=0))
        yield service
    finally:
        await service.close()


def question(api_key: str) -> GrantRequest:
    return GrantRequest(
        gateway_id="gw",
        epoch=1,
        lease_id=new_id(),
        key_hash=key_hash(api_key),
        attributes=Attributes(),
        least=NOTHING,
        need=NOTHING,
        want=NOTHING,
    )


async def test_a_gateway_whose_clock_jumps_a_day_forward_and_back_is_heard(own_service: FakeBudget) -> None:
    clock = HandClock(datetime.now(UTC) - 3 * TOKEN_IS_USED_UP)
    async with service(own_service, clock) as budget:
        with capture_logs() as lines:
            for by in (DAY, -2 * DAY, DAY):
                clock.jump(by)
                await budget.heartbeat(BEAT)
                clock.move(TOKEN_IS_USED_UP)
                await budget.heartbeat(BEAT)
        assert lines == []


@pytest.mark.parametrize("by", [DAY, -DAY])
async def test_a_gateway_goes_by_the_clock_of_the_service_that_judges_it(
    own_service: FakeBudget, api_key: str, by: timedelta
) -> None:
    with capture_logs() as lines:
        async with service(own_service, HandClock(datetime.now(UTC) + by)) as budget:
            await budget.heartbeat(BEAT)
            await budget.grant(question(api_key))
    assert [line["event"] for line in lines] == ["clocks_differ"]


async def test_an_unknown_key_is_not_taken_for_a_clock_that_differs(own_service: FakeBudget) -> None:
    async with service(own_service, HandClock(datetime.now(UTC))) as budget:
        with capture_logs() as lines, pytest.raises(UnknownKey):
            await budget.grant(question("fbx_nobody"))
    assert lines == []
