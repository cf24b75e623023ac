"""A budget service of one budget: real HTTP on loopback, the real escrow rule, nothing stored."""

import socket
import threading
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
from budget.escrow import Ask, Room, ShareState, Short, grant, release
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
class Account:
    """What the policy of every key says."""

    currency: str = "USD"
    fx_rate: Decimal = Decimal(1)
    language: Any = "en"
    clamp: bool = False
    mode: Any = "hard"
    measure: Any = "money"
    allowed_models: tuple[str, ...] | None = None
    blocked_models: tuple[str, ...] = ()
    fresh_for_ms: int = 20_000
    valid_for_ms: int | None = None
    resets_at: datetime | None = _START + timedelta(days=30)
    users: dict[str, str] = field(default_factory=dict)


class FakeBudget:
    """`url` answers the lease API. `room` is the budget's window, in nano-units or counts."""

    def __init__(self, *, secret: str, limit: int = 100 * NANO, **account: Any) -> None:
        self.account = Account(**account)
        self.budget_id = new_id()
        self.room = Room((self.budget_id, _START), self.account.measure, limit, 0, 0, 0)
        self.shares: dict[UUID, ShareState] = {}
        self.epoch = 0
        self.starts: list[StartRequest] = []
        self.grants: list[GrantRequest] = []
        self.recalled: set[UUID] = set()
        self._app = api(self._routes(), secret=secret)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def add_key(self, api_key: str, user: str = "ann") -> None:
        self.account.users[key_hash(api_key)] = user

    def revoke(self, api_key: str) -> None:
        del self.account.users[key_hash(api_key)]

    def post(self, lease_id: UUID, amount: int) -> None:
        """A ledger entry under a lease, as `usage.priced` brings it."""
        share = self.shares[lease_id]
        after = share.charged(amount)
        self.room = release(share, after, self.room.moved(posted=amount))
        self.shares[lease_id] = after

    def start(self) -> None:
        """Listen, on the same port as before."""
        listening = self._socket if self._socket.fileno() >= 0 else socket.create_server(("127.0.0.1", self._port))
        self._socket = listening
        config = uvicorn.Config(self._app, lifespan="off", log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()

    def stop(self) -> None:
        """Go away; state stays."""
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
        self.starts.append(start)
        for report in start.reports:
            self._report(report)
        self.epoch += 1
        return JSON(StartAnswer(epoch=self.epoch))

    async def _heartbeat(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        beat = await body(request, Heartbeat)
        self._fence(beat.epoch)
        for report in beat.reports:
            self._report(report)
        recalled, self.recalled = tuple(self.recalled), set()
        return JSON(HeartbeatAnswer(recalled=recalled))

    async def _grant(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        asked = await body(request, GrantRequest)
        self._fence(asked.epoch)
        self.grants.append(asked)
        user = self.account.users.get(asked.key_hash)
        if user is None:
            raise UnknownKey("the API key is not known, or has been revoked")
        for report in asked.reports:
            self._report(report)
        return JSON(self._answer(asked, user))

    def _answer(self, asked: GrantRequest, user: str) -> GrantAnswer:
        if self.account.mode != "hard":
            return GrantAnswer(policy=self._policy(user, asked.key_hash))
        known = self.shares.get(asked.lease_id)
        if known is None:
            asks = self._asks(asked)
            verdict = grant([self.room], asks, live_gateways=1)
            if isinstance(verdict, Short):
                refusal = Refusal(code="budget_exceeded", budget_id=self.budget_id)
                return GrantAnswer(policy=self._policy(user, asked.key_hash), refusal=refusal)
            amount = verdict.amounts[self.room.key]
            known = self.shares[asked.lease_id] = ShareState(asked.lease_id, self.room.key, amount)
            self.room = self.room.moved(escrowed=amount)
        share = Share(budget_id=self.budget_id, measure=self.account.measure, granted=known.granted)
        lease = Lease(lease_id=asked.lease_id, shares=(share,), valid_for_ms=self.account.valid_for_ms)
        return GrantAnswer(policy=self._policy(user, asked.key_hash), lease=lease)

    def _asks(self, asked: GrantRequest) -> Mapping[Any, Ask]:
        def of(need: Need) -> int:
            money = convert(need.cost_nano_usd, self.account.fx_rate)
            return {"money": money, "requests": need.requests, "tokens": need.tokens}[self.account.measure]

        return {self.account.measure: Ask(of(asked.least), of(asked.need), of(asked.want))}

    def _policy(self, user: str, hashed: str) -> Policy:
        account = self.account
        figures = PathBudget(
            budget_id=self.budget_id,
            name="Monthly",
            account=AccountRef(id=user, kind="user", name=user.title()),
            measure=account.measure,
            currency=account.currency if account.measure == "money" else None,
            mode=account.mode,
            narrowed_to=Attributes(),
            limit=self.room.limit,
            spent=self.room.spent,
            held=self.room.escrowed,
            resets_at=account.resets_at,
        )
        billing = BillingTerms(
            currency=account.currency, fx_rate=account.fx_rate, fx_source="test", fx_date=date(2026, 1, 1)
        )
        return Policy(
            principal=Principal(org="acme", user=user, key=f"key-{hashed[:8]}"),
            billing=billing,
            language=account.language,
            zone="Asia/Ho_Chi_Minh",
            clamp=account.clamp,
            min_output_tokens=16,
            allowed_models=account.allowed_models,
            blocked_models=account.blocked_models,
            budgets=(figures,),
            fresh_for_ms=account.fresh_for_ms,
        )

    def _report(self, report: LeaseReport) -> None:
        before = self.shares.get(report.lease_id)
        if before is None:
            return
        spent = report.spent.of(self.account.measure)
        after = before.reported(spent=spent, returned=report.returned.get(self.budget_id, 0))
        self.room = release(before, after, self.room)
        self.shares[report.lease_id] = after

    def _fence(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise Fenced(f"epoch {epoch} is over; the newest is {self.epoch}")


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
