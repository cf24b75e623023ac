"""A budget service without a database: real HTTP on loopback, the real escrow rule, one budget a key."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from budget.errors import Fenced, UnknownKey
from budget.shares.rules import Ask, Room, ShareState, Short, grant, release
from farebox.auth import Role, key_hash
from farebox.events import AccountRef, BillingTerms, Principal
from farebox.http import JSON, api, body, caller
from farebox.ids import new_id
from farebox.leasing import (
    Attributes,
    GrantAnswer,
    GrantRequest,
    Heartbeat,
    HeartbeatAnswer,
    Lease,
    LeaseReport,
    Need,
    PathBudget,
    Policy,
    Refusal,
    Share,
    StartAnswer,
    StartRequest,
)
from farebox.money import NANO, convert

_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeAccount:
    """One key's policy, and the one budget on its path. Amounts are nano-units or counts."""

    user: str = "ann"
    currency: str = "USD"
    fx_rate: Decimal = Decimal(1)
    language: Any = "en"
    clamp: bool = False
    mode: Any = "hard"
    measure: Any = "money"
    limit: int = 100 * NANO
    allowed_models: tuple[str, ...] | None = None
    blocked_models: tuple[str, ...] = ()
    fresh_for_ms: int = 20_000
    valid_for_ms: int | None = None
    resets_at: datetime | None = _START + timedelta(days=30)
    is_revoked: bool = False
    comes_back: int = 0
    """What lies idle elsewhere: recalled by the first refusal, there for the next request."""
    is_held_elsewhere: bool = False
    """Others hold what is short, are asked for it, and go on needing it."""
    budget_id: UUID = field(default_factory=new_id)
    shares: dict[UUID, ShareState] = field(default_factory=dict)
    grants: list[GrantRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.room = Room((self.budget_id, _START), self.measure, self.limit, 0, 0, 0)

    @property
    def spent(self) -> int:
        """What gateways have reported."""
        return sum(share.spent for share in self.shares.values())

    @property
    def held(self) -> int:
        return sum(share.held for share in self.shares.values())

    def answer(self, asked: GrantRequest) -> GrantAnswer:
        self.grants.append(asked)
        if self.mode != "hard":
            return GrantAnswer(policy=self._policy(asked.key_hash))
        known = self.shares.get(asked.lease_id)
        if known is None:
            verdict = grant([self.room], self._asks(asked), live_gateways=1)
            if isinstance(verdict, Short):
                coming, self.comes_back = self.comes_back, 0
                recalling = coming > 0 or self.is_held_elsewhere
                refusal = Refusal(code="budget_exceeded", budget_id=self.budget_id, is_recalling=recalling)
                self.raise_to(self.room.limit + coming)
                return GrantAnswer(policy=self._policy(asked.key_hash), refusal=refusal)
            amount = verdict.amounts.get(self.room.key, 0)
            if not amount:
                return GrantAnswer(policy=self._policy(asked.key_hash))
            known = self.shares[asked.lease_id] = ShareState(asked.lease_id, self.room.key, amount)
            self.room = self.room.moved(escrowed=amount)
        share = Share(budget_id=self.budget_id, measure=self.measure, granted=known.granted)
        lease = Lease(lease_id=asked.lease_id, shares=(share,), valid_for_ms=self.valid_for_ms)
        return GrantAnswer(policy=self._policy(asked.key_hash), lease=lease)

    def report(self, report: LeaseReport) -> None:
        if before := self.shares.get(report.lease_id):
            spent, returned = report.spent.of(self.measure), report.returned.get(self.budget_id, 0)
            after = before.reported(spent=spent, returned=returned)
            self.room = release(before, after, self.room)
            self.shares[report.lease_id] = after

    def raise_to(self, limit: int) -> None:
        self.room = self.room.limited(limit, is_hard=True)

    def _asks(self, asked: GrantRequest) -> Mapping[Any, Ask]:
        def of(need: Need) -> int:
            money = convert(need.cost_nano_usd, self.fx_rate)
            return {"money": money, "requests": need.requests, "tokens": need.tokens}[self.measure]

        return {self.measure: Ask(of(asked.least), of(asked.need), of(asked.want))}

    def _policy(self, hashed: str) -> Policy:
        figures = PathBudget(
            budget_id=self.budget_id,
            name="Monthly",
            account=AccountRef(id=self.user, kind="user", name=self.user.title()),
            measure=self.measure,
            currency=self.currency if self.measure == "money" else None,
            mode=self.mode,
            narrowed_to=Attributes(),
            limit=self.room.limit,
            spent=self.room.spent,
            held=self.room.escrowed,
            resets_at=self.resets_at,
        )
        return Policy(
            principal=Principal(org="acme", user=self.user, key=f"key-{hashed[:8]}"),
            billing=BillingTerms(
                currency=self.currency, fx_rate=self.fx_rate, fx_source="test", fx_date=date(2026, 1, 1)
            ),
            language=self.language,
            zone="Asia/Ho_Chi_Minh",
            clamp=self.clamp,
            min_output_tokens=16,
            allowed_models=self.allowed_models,
            blocked_models=self.blocked_models,
            budgets=(figures,),
            fresh_for_ms=self.fresh_for_ms,
        )


class FakeBudget:
    """`url` answers the lease API, and says at `/api` what it was asked."""

    def __init__(self, *, secret: str) -> None:
        self.accounts: dict[str, FakeAccount] = {}
        self.epochs: Counter[str] = Counter()
        self.recalled: set[UUID] = set()
        self.is_slow = False
        """Grants wait until this is over; `waiting` is how many do."""
        self.waiting = 0
        self._app = api(self._routes(), secret=secret)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def open(self, api_key: str, **account: Any) -> FakeAccount:
        """A key with a budget of its own."""
        return self.accounts.setdefault(key_hash(api_key), FakeAccount(**account))

    def start(self) -> None:
        """Listen, on the same port as before."""
        if self._socket.fileno() < 0:
            self._socket = socket.create_server(("127.0.0.1", self._port))
        self._server = uvicorn.Server(uvicorn.Config(self._app, lifespan="off", log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def stop(self) -> None:
        """Go away; what is known stays."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join()
            self._server = None
        self._socket.close()

    def _routes(self) -> list[Route]:
        return [
            Route("/internal/v1/starts", self._start, methods=["POST"]),
            Route("/internal/v1/grants", self._grant, methods=["POST"]),
            Route("/internal/v1/heartbeats", self._heartbeat, methods=["POST"]),
            Route("/api/{path:path}", _echo, methods=["GET", "POST"]),
        ]

    async def _start(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        start = await body(request, StartRequest)
        self._report(start.reports)
        self.epochs[start.gateway_id] += 1
        return JSON(StartAnswer(epoch=self.epochs[start.gateway_id]))

    async def _heartbeat(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        beat = await body(request, Heartbeat)
        self._fence(beat.gateway_id, beat.epoch)
        self._report(beat.reports)
        recalled, self.recalled = tuple(self.recalled), set()
        return JSON(HeartbeatAnswer(recalled=recalled))

    async def _grant(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        asked = await body(request, GrantRequest)
        self.waiting += 1
        while self.is_slow:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        self.waiting -= 1
        self._fence(asked.gateway_id, asked.epoch)
        account = self.accounts.get(asked.key_hash)
        if account is None or account.is_revoked:
            raise UnknownKey("the API key is not known, or has been revoked")
        self._report(asked.reports)
        return JSON(account.answer(asked))

    def _report(self, reports: tuple[LeaseReport, ...]) -> None:
        for report in reports:
            for account in self.accounts.values():
                account.report(report)

    def _fence(self, gateway_id: str, epoch: int) -> None:
        if epoch != self.epochs[gateway_id]:
            raise Fenced(f"epoch {epoch} is over; the newest is {self.epochs[gateway_id]}")


async def _echo(request: Request) -> Response:
    """What a service behind `/api` sees of a request."""
    who = caller(request)
    return JSON(
        {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "body": (await request.body()).decode(),
            "role": who.role,
            "account": who.account,
        }
    )
