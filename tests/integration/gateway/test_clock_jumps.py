"""A wall clock that is set, here or at the budget service, keeps no beat from being heard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from farebox.auth import key_hash
from farebox.ids import new_id
from farebox.shares import Ask, Beat, RaiseRequest, StartRequest
from gateway.budget_link.service import BudgetService
from support.clock import HandClock
from support.fake_budget import FakeBudget
from support.gateway import SECRET

DAY = timedelta(days=1)
TOKEN_IS_USED_UP = timedelta(minutes=1)
START = StartRequest(gateway_id="gw", process_id=new_id(), last_epoch=0, last_record=0, is_whole=True)
BEAT = Beat(gateway_id="gw", epoch=1)


@asynccontextmanager
async def service(budget: FakeBudget, clock: HandClock) -> AsyncIterator[BudgetService]:
    service = BudgetService(budget.url, secret=SECRET, clock=clock)
    try:
        await service.start(
            StartRequest(gateway_id="gw", process_id=new_id(), last_epoch=0, last_record=0, is_whole=True)
        )
        yield service
    finally:
        await service.close()


def question(api_key: str) -> RaiseRequest:
    return RaiseRequest(gateway_id="gw", epoch=1, asks=(Ask(key_hash=key_hash(api_key)),))


async def test_a_gateway_whose_clock_jumps_a_day_forward_and_back_is_heard(own_service: FakeBudget) -> None:
    clock = HandClock(datetime.now(UTC) - 3 * TOKEN_IS_USED_UP)
    async with service(own_service, clock) as budget:
        with capture_logs() as lines:
            for by in (DAY, -2 * DAY, DAY):
                clock.jump(by)
                await budget.beat(BEAT)
                clock.move(TOKEN_IS_USED_UP)
                await budget.beat(BEAT)
        assert lines == []


@pytest.mark.parametrize("by", [DAY, -DAY])
async def test_a_gateway_goes_by_the_clock_of_the_service_that_judges_it(
    own_service: FakeBudget, api_key: str, by: timedelta
) -> None:
    with capture_logs() as lines:
        async with service(own_service, HandClock(datetime.now(UTC) + by)) as budget:
            await budget.beat(BEAT)
            await budget.raise_shares(question(api_key))
    assert [line["event"] for line in lines] == ["clocks_differ"]


async def test_an_unknown_key_is_not_taken_for_a_clock_that_differs(own_service: FakeBudget) -> None:
    async with service(own_service, HandClock(datetime.now(UTC))) as budget:
        with capture_logs() as lines:
            (answer,) = (await budget.raise_shares(question("fbx_nobody"))).answers
    assert (answer.policy, lines) == (None, [])
