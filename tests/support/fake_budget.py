"""The budget service without a database: its own operations over books in memory, behind HTTP on loopback."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from budget.accounts.rules import Account, AccountSettings
from budget.budgets.rules import Budget
from budget.budgets.windows import Calendar
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.shares.rules import Share
from farebox.auth import Role, key_hash
from farebox.events import AccountRef, Measure
from farebox.events.budget import AccountKind, Mode
from farebox.http import JSON, api, body, caller
from farebox.ids import new_id
from farebox.matching import EVERYTHING, Narrowing
from farebox.money import NANO
from farebox.shares import Ask, Beat, RaiseRequest, ShareReport, StartRequest, WindowAsk
from support.clock import JumpingClock
from support.memory_books import MemoryStore

ResultT = TypeVar("ResultT")

ORG: Final = "acme"
_ABOVE: Final = ("platform", ORG)
_PLATFORM: Final = AccountSettings(
    currency="USD",
    fx_rate=Decimal(1),
    fx_source="test",
    fx_date=date(2026, 1, 1),
    language="en",
    zone="Asia/Ho_Chi_Minh",
    clamp=False,
    min_output_tokens=16,
    blocked_models=(),
    alerts=False,
)


@dataclass(eq=False)
class FakeAccount:
    """One key's user, and the monthly budget of that user. Amounts are nano-units or counts."""

    service: "FakeBudget"
    api_key: str
    user: str = "ann"
    clamp: bool = False
    mode: Mode = "hard"
    measure: Measure = "money"
    limit: int = 100 * NANO
    narrowed_to: Narrowing = EVERYTHING
    fresh_for_ms: int = 20_000
    idle_elsewhere: int = 0
    """So much of the limit is another gateway's, which gives it back when it is asked for it."""
    used_elsewhere: int = 0
    """So much is another gateway's, which goes on needing it."""
    budget_id: UUID = field(default_factory=new_id)
    asks: list[Ask] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"key-{self.user}"

    @property
    def budget(self) -> Budget:
        return self.service.store.tables.budgets[self.budget_id]

    @property
    def shares(self) -> list[Share]:
        """Of its budget, whosever they are."""
        return [share for share in self.service.store.tables.shares.values() if share.key.budget_id == self.budget_id]

    @property
    def held(self) -> int:
        """Nothing is ever posted here: once all the rest is returned, it is what was settled."""
        return sum(share.held for share in self.shares)

    @property
    def suspended(self) -> int:
        return sum(share.held for share in self.shares if share.is_suspended)

    def raise_to(self, limit: int) -> None:
        """Change the limit, as an administrator does."""
        tables = self.service.store.tables
        budget = replace(self.budget, limit=limit, limit_revision=self.budget.limit_revision + 1)
        tables.budgets[self.budget_id] = budget
        for key, window in tables.windows.items():
            if key[0] == self.budget_id:
                tables.windows[key] = window.under(budget)

    def set(self, **terms: Any) -> None:
        """Change settings of the user, as an administrator does."""
        accounts = self.service.store.tables.accounts
        accounts[self.user] = replace(accounts[self.user], terms=replace(accounts[self.user].terms, **terms))
        self.service.store.change_policy(self.user)

    def revoke(self) -> None:
        del self.service.store.tables.keys[key_hash(self.api_key)]

    def recall(self) -> None:
        """Somebody else needs what gateways hold."""
        books = self.service.transaction
        self.service.do(books(lambda unit: unit.books.recall(self._window(), "somebody", self.service.clock.now())))

    def roll_over(self) -> None:
        """The month ends."""
        self.service.clock.jump(timedelta(days=31))

    def _window(self) -> tuple[UUID, Any]:
        return self.budget.window_key(self.service.clock.now())


class FakeBudget:
    """`url` answers the share API, and says at `/api` what it was asked. `close` ends it for good."""

    def __init__(self, *, secret: str) -> None:
        self.clock = JumpingClock()
        self.store = MemoryStore()
        self.operations = Shares(self.store, self.clock, _nothing, release_after_s=0)
        self.raises = Raises(self.store, self.clock, _nothing)
        self.accounts: dict[str, FakeAccount] = {}
        self.starts: list[StartRequest] = []
        self.is_slow = False
        """Raises wait until this is over; `waiting` is how many do."""
        self.waiting = 0
        self._elsewhere: dict[UUID, str] = {}
        self._app = api(self._routes(), secret=secret)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        tables = self.store.tables
        tables.accounts["platform"] = _account("platform", "platform", (), _PLATFORM)
        tables.accounts[ORG] = _account(ORG, "org", ("platform",), AccountSettings())

    def open(self, api_key: str, **settings: Any) -> FakeAccount:
        """A key whose user has a budget."""
        account = self.accounts.get(key_hash(api_key))
        return account or self.do(self._open(FakeAccount(self, api_key, **settings)))

    def epoch(self, gateway_id: str = "gateway-test") -> int:
        """The newest that a gateway claimed; 0 for one that never did."""
        row = self.store.tables.gateways.get(gateway_id)
        return row.epoch if row else 0

    def last_record(self, gateway_id: str = "gateway-test") -> int:
        """Of its journal, as it was told."""
        return self.store.tables.gateways[gateway_id].last_record

    def claim(self, gateway_id: str = "gateway-test") -> int:
        """Another process takes a gateway's name."""
        return self.do(self._claim(gateway_id))

    def do(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """On the service's own loop, between its requests."""
        return self.begin(work).result(10)

    def begin(self, work: Coroutine[Any, Any, ResultT]) -> "Future[ResultT]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def transaction(self, work: Callable[[Any], Awaitable[ResultT]]) -> ResultT:
        async with self.store.transaction() as unit:
            return await work(unit)

    def start(self) -> None:
        """Listen, on the same port as before."""
        if self._socket.fileno() < 0:
            self._socket = socket.create_server(("127.0.0.1", self._port))
        self._server = uvicorn.Server(uvicorn.Config(self._app, lifespan="off", log_config=None, access_log=False))
        self._serving = self.do(_task(self._server.serve(sockets=[self._socket])))

    def stop(self) -> None:
        """Go away; what is known stays."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = self._server.force_exit = True
            self.do(_over(self._serving))
            self._server = None
        self._socket.close()

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _routes(self) -> list[Route]:
        return [
            Route("/internal/v2/starts", self._start, methods=["POST"]),
            Route("/internal/v2/raises", self._raise, methods=["POST"]),
            Route("/internal/v2/beats", self._beat, methods=["POST"]),
            Route("/api/{path:path}", _echo, methods=["GET", "POST"]),
        ]

    async def _start(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        start = await body(request, StartRequest)
        self.starts.append(start)
        return JSON(await self.operations.start(start))

    async def _beat(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        return JSON(await self.operations.beat(await body(request, Beat)))

    async def _raise(self, request: Request) -> Response:
        caller(request).require(Role.SERVICE)
        asked = await body(request, RaiseRequest)
        self.waiting += 1
        while self.is_slow:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        self.waiting -= 1
        answer = await self.raises.answer(asked)
        answers = []
        for ask, each in zip(asked.asks, answer.answers, strict=True):
            account = self.accounts.get(ask.key_hash)
            if account is not None:
                account.asks.append(ask)
            if account is not None and each.policy is not None:
                policy = each.policy.model_copy(update={"fresh_for_ms": account.fresh_for_ms})
                answers.append(each.model_copy(update={"policy": policy}))
            else:
                answers.append(each)
        await self.others_return()
        return JSON(answer.model_copy(update={"answers": tuple(answers)}))

    async def _open(self, account: FakeAccount) -> FakeAccount:
        tables = self.store.tables
        tables.accounts[account.user] = _account(account.user, "user", _ABOVE, AccountSettings(clamp=account.clamp))
        tables.accounts[account.key] = _account(account.key, "key", (*_ABOVE, account.user), AccountSettings())
        tables.keys[key_hash(account.api_key)] = account.key
        tables.budgets[account.budget_id] = Budget(
            budget_id=account.budget_id,
            name="Monthly",
            account=AccountRef(id=account.user, kind="user", name=account.user.title()),
            path=(*_ABOVE, account.user),
            measure=account.measure,
            currency="USD" if account.measure == "money" else None,
            calendar=Calendar("month", "UTC"),
            limit=account.limit,
            limit_revision=1,
            mode=account.mode,
            is_active=True,
            marks=(),
            narrowed_to=account.narrowed_to,
            counts_from=self.clock.now(),
        )
        self.accounts[key_hash(account.api_key)] = account
        if amount := account.idle_elsewhere or account.used_elsewhere:
            await self._hold_elsewhere(account, amount)
        return account

    async def _claim(self, gateway_id: str) -> int:
        start = StartRequest(gateway_id=gateway_id, process_id=new_id(), last_epoch=0, last_record=0, is_whole=False)
        return (await self.operations.start(start)).epoch

    async def _hold_elsewhere(self, account: FakeAccount, amount: int) -> None:
        """Another gateway holds so much of a budget."""
        gateway_id = f"elsewhere-{account.user}"
        budget_id, start = account._window()
        window = WindowAsk(budget_id=budget_id, window_start=start, least=amount, need=amount, want=amount)
        ask = Ask(key_hash=key_hash(account.api_key), windows=(window,))
        epoch = await self._claim(gateway_id)
        await self.raises.answer(RaiseRequest(gateway_id=gateway_id, epoch=epoch, asks=(ask,)))
        if account.idle_elsewhere:
            self._elsewhere[budget_id] = gateway_id

    async def others_return(self) -> None:
        """What other gateways hold idly, and were asked for, they return with their beat."""
        for budget_id, gateway_id in tuple(self._elsewhere.items()):
            beat = Beat(gateway_id=gateway_id, epoch=self.epoch(gateway_id))
            for window in (await self.operations.beat(beat)).recalled:
                (share,) = [each for each in self.store.tables.shares.values() if each.key.gateway_id == gateway_id]
                report = ShareReport(**window.model_dump(), granted=share.granted, returned=share.granted)
                await self.operations.beat(beat.model_copy(update={"reports": (report,)}))
                del self._elsewhere[budget_id]


def _account(account_id: str, kind: AccountKind, above: tuple[str, ...], terms: AccountSettings) -> Account:
    return Account(account_id, kind, (*above, account_id), account_id, terms, 1)


def _nothing() -> None:
    """There is no outbox to wake."""


async def _task(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.ensure_future(work)


async def _over(task: "asyncio.Task[None]") -> None:
    await asyncio.wait([task])


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
