"""A gateway's admission with the budget service's own operations in the same process: no socket, no provider."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

import budget.errors
from farebox.auth import key_hash
from farebox.pricing import Catalogue, PriceRow
from farebox.shares import Beat, BeatAnswer, RaiseAnswer, RaiseRequest, StartAnswer, StartRequest
from gateway.admission.reservations import Reservations
from gateway.admission.verdict import Refused, Reservation
from gateway.budget_link.books_clock import BooksClock
from gateway.budget_link.heartbeat import Heartbeat
from gateway.budget_link.questions import Questions
from gateway.budget_link.standing import Standing
from gateway.dialects.call import Call, read
from gateway.errors import BudgetAway, Fenced
from gateway.journal.journal import Journal
from gateway.policy.policies import Policies
from gateway.policy.prices import Prices
from gateway.shares.shares import Shares
from gateway.upstreams.directory import Upstream
from support.clock import HandClock
from support.fake_budget import FakeBudget
from support.reservations import UPSTREAM

ResultT = TypeVar("ResultT")


@dataclass
class Direct:
    """ShareService without HTTP. `raises` are the messages that asked something."""

    budget: FakeBudget
    is_away: bool = False
    raises: list[RaiseRequest] = field(default_factory=list)

    async def start(self, request: StartRequest) -> StartAnswer:
        return await self._done(self.budget.operations.start(request))

    async def beat(self, beat: Beat) -> BeatAnswer:
        return await self._done(self.budget.operations.beat(beat))

    async def raise_shares(self, request: RaiseRequest) -> RaiseAnswer:
        self.raises.append(request)
        return await self._done(self.budget.raises.answer(request))

    async def _done(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        if self.is_away:
            work.close()
            raise BudgetAway("away")
        try:
            return await asyncio.wrap_future(self.budget.begin(work))
        except budget.errors.Fenced as error:
            raise Fenced(str(error)) from error


class Admitting:
    """What decides whether a call may be sent, put together as in `gateway.app`."""

    def __init__(self, budget_service: FakeBudget, folder: Path) -> None:
        self.service = Direct(budget_service)
        self.clock = HandClock(datetime.now(UTC))
        self.shares = Shares()
        self.policies = Policies(fresh_s=30, stale_s=600)
        self.journal = Journal(
            folder, segment_bytes=1 << 20, limit_bytes=1 << 30, spent=self.shares.spent, boot="this boot"
        )
        books_clock = BooksClock(self.clock)
        self.standing = Standing("gateway-test", books_clock)
        self.questions = Questions(
            self.service, standing=self.standing, shares=self.shares, policies=self.policies, clock=books_clock
        )
        self.heartbeat = Heartbeat(
            self.service,
            standing=self.standing,
            questions=self.questions,
            shares=self.shares,
            policies=self.policies,
            journal=self.journal,
            clock=books_clock,
        )
        self.catalogue = Catalogue()
        self.reservations = Reservations(
            policies=self.policies,
            shares=self.shares,
            questions=self.questions,
            standing=self.standing,
            prices=Prices(self.catalogue),
            clock=self.clock,
        )

    def price(self, model: str) -> None:
        """A price row for a model of the upstream."""
        row = {"id": model, "provider": "openai", "model": model, "rates": {"input": "1", "output": "1"}}
        self.catalogue.add(PriceRow.model_validate({**row, "effective_from": "2026-01-01T00:00:00Z", "source": "test"}))

    async def admit(self, api_key: str, upstream: Upstream = UPSTREAM, **body: Any) -> Reservation | Refused:
        return await self.reservations.make(key_hash(api_key), call(upstream, **body), upstream)


def call(upstream: Upstream = UPSTREAM, **body: Any) -> Call:
    """`max_tokens=None` leaves it out."""
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "xin chào"}], "max_tokens": 50, **body}
    raw = orjson.dumps({name: value for name, value in asked.items() if value is not None})
    return read(upstream.dialect, raw, {}, max_tokens_limit=1_000_000, provider=upstream.provider)
