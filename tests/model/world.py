"""The share protocol with its two real halves and nothing else real.

`Books` are the budget service's own operations over books in memory; `Gateway` is a gateway's own shares, journal, link
and reservation, without sockets and prices. Whatever one of them decides, the real code decides it.
"""

import os
import shutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast
from uuid import NAMESPACE_OID, UUID, uuid5

import orjson

from budget.accounts.rules import Account, AccountSettings
from budget.budgets.rules import Budget
from budget.budgets.windows import Calendar
from budget.posting import handlers
from budget.posting.handlers import UsageHandler
from budget.shares.operations import Shares as Operations
from budget.shares.raises import Raises
from budget.shares.rules import WindowKey
from farebox.events import (
    AccountRef,
    CallAttributes,
    Envelope,
    Held,
    HeldWindow,
    Measure,
    Measured,
    Principal,
    UsagePriced,
)
from farebox.events.budget import AccountKind
from farebox.ids import new_id
from farebox.kafka import Message, Record
from farebox.matching import EVERYTHING, Admitted, Narrowing
from farebox.shares import Beat, Opening, RaiseRequest, StartAnswer, StartRequest
from gateway.admission.reservations import Reservations
from gateway.admission.verdict import Reservation
from gateway.budget_link.books_clock import BooksClock
from gateway.budget_link.heartbeat import Heartbeat
from gateway.budget_link.questions import Question, Questions, Raise
from gateway.budget_link.standing import Standing
from gateway.journal.journal import Journal
from gateway.journal.record import Entry
from gateway.journal.replay import Place
from gateway.policy.policies import KeyPolicy, Policies
from gateway.shares.amount import Amount
from gateway.shares.shares import Hold, Report, Shares
from gateway.shares.shares import Path as SharePath
from support.clock import HandClock
from support.memory_books import MemoryStore

T = TypeVar("T")
U = TypeVar("U")

BEGINNING: Final = datetime(2026, 3, 1, tzinfo=UTC)
TOKENS: Final = 10
RELEASE_AFTER_S: Final = 330.0
ORG: Final = "acme"
MODELS: Final = ("gpt-4o", "gpt-4o-mini")


def run(work: Coroutine[Any, Any, T]) -> T:
    """To its end, at once: nothing here waits for anything."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError("something waits in a world where nothing does")


async def _in_turn(asked: Coroutine[None, None, T], work: Callable[[], U]) -> tuple[T, U]:
    """As `meanwhile`, where nothing takes time."""
    return await asked, work()


handlers.meanwhile = _in_turn


def a_budget(
    account: str, kind: AccountKind, limit: int, measure: Measure = "money", narrowed_to: Narrowing = EVERYTHING
) -> Budget:
    return Budget(
        budget_id=uuid5(NAMESPACE_OID, f"{account} {kind} {measure} {narrowed_to}"),
        name=f"{account} {measure}",
        account=AccountRef(id=account, kind=kind, name=account),
        path=("platform", account),
        measure=measure,
        currency="USD" if measure == "money" else None,
        calendar=Calendar("day", "UTC"),
        limit=limit,
        limit_revision=1,
        mode="hard",
        is_active=True,
        marks=(),
        narrowed_to=narrowed_to,
        counts_from=BEGINNING,
    )


class Books:
    """The budget service, and who there is in it."""

    def __init__(self, budgets: Sequence[Budget], users: Sequence[str]) -> None:
        self.clock = HandClock(BEGINNING)
        self.store = MemoryStore(self.clock.now)
        self.operations = Operations(self.store, self.clock, _nothing, release_after_s=RELEASE_AFTER_S)
        self.raises = Raises(self.store, self.clock, _nothing)
        self.handler = UsageHandler(self.store, self.clock, _nothing, cast("Any", None))
        self.highest: dict[WindowKey, int] = {}
        tables = self.store.tables
        tables.accounts["platform"] = _account("platform", "platform", (), _PLATFORM)
        tables.accounts[ORG] = _account(ORG, "org", ("platform",), AccountSettings())
        for user in users:
            tables.accounts[user] = _account(user, "user", ("platform", ORG), AccountSettings())
            tables.accounts[f"key-{user}"] = _account(f"key-{user}", "key", ("platform", ORG, user), AccountSettings())
            tables.keys[key_hash(user)] = f"key-{user}"
        tables.budgets |= {budget.budget_id: budget for budget in budgets}

    def path(self, user: str, model: str) -> list[Budget]:
        """The hard budgets that a call meets."""
        call = admitted(model)
        mine = [budget for budget in self.store.tables.budgets.values() if budget.account.id in {ORG, user}]
        return [budget for budget in mine if budget.applies_to(call)]

    def limit_of(self, key: WindowKey) -> int:
        """The highest that a window ever had."""
        now = self.store.tables.budgets[key[0]].limit
        self.highest[key] = max(self.highest.get(key, 0), now)
        return self.highest[key]

    def set_limit(self, budget_id: UUID, limit: int) -> None:
        """In the present window and those to come."""
        tables = self.store.tables
        old = tables.budgets[budget_id]
        for key in tables.windows:
            if key[0] == budget_id:
                self.limit_of(key)
        budget = tables.budgets[budget_id] = replace(old, limit=limit, limit_revision=old.limit_revision + 1)
        key = budget.window_key(self.clock.now())
        if key in tables.windows:
            tables.windows[key] = tables.windows[key].under(budget)
        self.limit_of(key)

    def post(self, entries: Sequence[UsagePriced]) -> None:
        assert not run(self.handler([_record(entry) for entry in entries]))


@dataclass(eq=False)
class Call:
    """An attempt that was admitted: what may be billed for it at most, and what will be."""

    attempt: UUID
    user: str
    model: str
    hold: Hold
    reserve: int
    bill: int
    place: Place
    at: datetime
    gateway: "Gateway"

    @property
    def excess(self) -> int:
        """What it is billed above its reserve."""
        return max(0, self.bill - self.reserve)


@dataclass(frozen=True)
class Told:
    """What `request.completed` says of an attempt: `charge` and what is uncertain beside it."""

    attempt: UUID
    user: str
    model: str
    gateway: str
    epoch: int
    windows: tuple[WindowKey, ...]
    charge: int
    uncertain: int
    at: datetime


@dataclass(eq=False)
class Sent:
    """A message on its way to the service; its answer goes to the process that sent it."""

    gateway: "Gateway"
    request: RaiseRequest | Beat
    question: Question | None = None
    reports: tuple[Report, ...] = ()


@dataclass(eq=False)
class Gateway:
    """One gateway process and its disk."""

    name: str
    books: Books
    folder: Path
    boot_id: str = "boot-1"
    calls: list[Call] = field(default_factory=list)

    def boot(self) -> list[Told]:
        """Read the journal, claim an epoch; the events to send, again or for the first time."""
        self.shares = Shares()
        self.journal = Journal(
            self.folder, segment_bytes=2_000, limit_bytes=1 << 30, spent=self.shares.spent, boot=self.boot_id
        )
        self.policies = Policies(fresh_s=20, stale_s=600)
        service: Any = self
        books_clock = BooksClock(self.books.clock)
        self.standing = Standing(self.name, books_clock)
        self.questions = Questions(
            service, standing=self.standing, shares=self.shares, policies=self.policies, clock=books_clock
        )
        self.heartbeat = Heartbeat(
            service,
            standing=self.standing,
            questions=self.questions,
            shares=self.shares,
            policies=self.policies,
            journal=self.journal,
            clock=books_clock,
        )
        self.reservations = Reservations(
            policies=self.policies,
            shares=self.shares,
            questions=self.questions,
            standing=self.standing,
            prices=cast("Any", None),
            clock=self.books.clock,
        )
        recovered = self.journal.recovered
        run(self.heartbeat._claim(recovered))
        return [self._told(self.journal.entry(place)) for _, place in recovered.unpublished]

    async def start(self, request: StartRequest) -> StartAnswer:
        """The answer to the first is lost: it is asked again."""
        await self.books.operations.start(request)
        return await self.books.operations.start(request)

    def die(self) -> None:
        """What was written stays; nothing is closed in order."""
        for segment in self.journal._segments.values():
            os.close(segment.file)
        self.journal._segments.clear()
        self.journal.close()

    def copy_of_the_disk(self, to: Path) -> Path:
        self.journal._remover.submit(int).result()  # what is being deleted is gone
        shutil.rmtree(to, ignore_errors=True)
        return Path(shutil.copytree(self.folder, to))

    def lose_the_last(self, lines: int) -> None:
        """Of the journal, as a machine may that lost its power: whole segments, too."""
        for segment in sorted(self.folder.glob("segment-*"), reverse=True):
            written = segment.read_bytes().splitlines(keepends=True)
            kept = written[: max(0, len(written) - lines)]
            lines -= len(written) - len(kept)
            if kept:
                segment.write_bytes(b"".join(kept))
                return
            segment.unlink()

    # Calls

    def key_policy(self, user: str) -> KeyPolicy | None:
        return self.policies.fresh(key_hash(user), self.books.clock.monotonic())

    def admit(self, user: str, model: str, reserve: int, bill: int) -> Call | Question:
        """As `Reservations` decides once the price is known: the call, or what to ask."""
        worst = Amount(reserve, 1, TOKENS)
        key_policy = self.key_policy(user)
        if key_policy is None:
            need = worst.need(reserve)
            attributes = CallAttributes(**admitted(model)._asdict())
            return Question(key_hash(user), opening=Opening(attributes=attributes, least=need, need=need))
        nobody: Any = None
        free = Reservation(nobody, nobody, nobody, key_policy, nobody, _estimate(worst), None, BEGINNING)
        path = key_policy.path(admitted(model))
        verdict = self.reservations._held(free, nobody, path, may_cut=False, may_clamp=False)
        if not isinstance(verdict, Reservation):
            return self._question(user, path, worst)
        assert verdict.hold is not None
        hold = verdict.hold
        entry = self._entry(new_id(), user, model, hold, worst, charge=reserve // 2)
        call = Call(entry.id, user, model, hold, reserve, bill, self.journal.intent(entry), entry.time, self)
        self.calls.append(call)
        return call

    def settle(self, call: Call, charge: int, uncertain: int) -> Told:
        """The answer came, or broke off: journal, settle, tell."""
        self.calls.remove(call)
        settled = Amount(charge + uncertain, 1, TOKENS)
        entry = self._entry(call.attempt, call.user, call.model, call.hold, settled, charge=charge)
        call.place = self.journal.completed(entry, call.place)
        self.shares.settle(call.hold, settled)
        return self._told(entry)

    def published(self, call: Call) -> None:
        self.journal.published([(call.attempt, call.place)])

    def _question(self, user: str, path: SharePath, need: Amount) -> Question:
        now = self.books.clock.monotonic()
        if any(window.ends_at is not None and window.ends_at <= now for window in path):
            return Question(key_hash(user))
        short = self.shares.short(path, need)
        return Question(key_hash(user), raises=tuple(Raise(w, need[w.measure], need[w.measure]) for w in short))

    # Messages

    def ask(self, question: Question) -> Sent:
        now = self.books.clock.monotonic()
        reports = tuple(self.shares.reports(100, within=[each.window.key for each in question.raises]))
        request = RaiseRequest(
            gateway_id=self.name,
            epoch=self.standing.epoch.epoch,
            asks=(self.questions._wire(question, now),),
            reports=tuple(report.wire for report in reports),
        )
        return Sent(self, request, question, reports)

    def beat(self) -> Sent:
        self.shares.tick(self.books.clock.monotonic())
        reports = tuple(self.shares.reports(100, also=2))
        request = Beat(
            gateway_id=self.name,
            epoch=self.standing.epoch.epoch,
            last_record=self.journal.last_record,
            reports=tuple(report.wire for report in reports),
        )
        return Sent(self, request, None, reports)

    def _entry(self, id_: UUID, user: str, model: str, hold: Hold, settled: Amount, *, charge: int) -> Entry:
        epoch = self.standing.epoch
        event = {"charge": charge, "user": user, "model": model, "gateway": epoch.gateway_id, "epoch": epoch.epoch}
        windows = tuple((share.key, share.measure) for share in hold.shares)
        return Entry(id_, windows, settled, user, self.books.clock.now(), orjson.dumps(event))

    def _told(self, entry: Entry) -> Told:
        event = orjson.loads(entry.event)
        return Told(
            attempt=entry.id,
            user=event["user"],
            model=event["model"],
            gateway=event["gateway"],
            epoch=event["epoch"],
            windows=tuple((key.budget_id, key.start) for key, _ in entry.windows),
            charge=event["charge"],
            uncertain=entry.settled.money - event["charge"],
            at=entry.time,
        )


def priced(told: Told) -> UsagePriced:
    """What metering makes of it."""
    return _usage(
        told,
        entry_id=told.attempt,
        billed_nano=told.charge,
        requests=1,
        tokens=TOKENS,
        settled=Measured(money=told.charge + told.uncertain, requests=1, tokens=TOKENS),
        uncertain=Measured(money=told.uncertain),
    )


def corrected(told: Told, bill: int) -> UsagePriced:
    """The true usage is entered: the difference, as an entry of its own."""
    return _usage(
        told,
        entry_id=new_id(),
        kind="correction",
        billed_nano=bill - told.charge,
        requests=0,
        tokens=0,
        settled=Measured(),
        uncertain=Measured(),
    )


def _usage(told: Told, *, settled: Measured, uncertain: Measured, **fields: Any) -> UsagePriced:
    call = admitted("a snapshot that serves it")
    return UsagePriced(
        attempt_id=told.attempt,
        request_id=told.attempt,
        occurred_at=told.at,
        priced_at=told.at,
        principal=Principal(org=ORG, user=told.user, key=f"key-{told.user}"),
        provider=call.upstream,
        model=call.model,
        cost_nano_usd=fields["billed_nano"],
        currency="USD",
        price_version="v",
        usage_source="reported",
        held=Held(
            gateway=told.gateway,
            epoch=told.epoch,
            windows=tuple(HeldWindow(budget_id=budget, start=start) for budget, start in told.windows),
            settled=settled,
            uncertain=uncertain,
            attributes=CallAttributes(**admitted(told.model)._asdict()),
        ),
        **fields,
    )


def key_hash(user: str) -> str:
    return user.encode().hex().rjust(64, "0")


def admitted(model: str) -> Admitted:
    return Admitted("demo", "openai", model)


_PLATFORM: Final = AccountSettings(
    currency="USD",
    fx_rate=Decimal(1),
    fx_source="identity",
    fx_date=date(1970, 1, 1),
    language="en",
    zone="UTC",
    clamp=False,
    min_output_tokens=16,
    default_output_tokens=16_384,
    blocked_models=(),
    alerts=True,
)


def _account(account_id: str, kind: AccountKind, above: tuple[str, ...], terms: AccountSettings) -> Account:
    return Account(account_id, kind, (*above, account_id), account_id, terms, 1)


def _estimate(worst: Amount) -> Any:
    return SimpleNamespace(amount=worst, bounds=None)


def _record(entry: UsagePriced) -> Record:
    envelope = Envelope(new_id(), "farebox/metering", entry.priced_at, entry.principal.subject(), entry)
    message = Message.carrying(envelope, topic="usage.priced", key=entry.principal.subject())
    return Record(message.topic, 0, 0, 0, message.key, message.value, message.headers)


def _nothing() -> None:
    """No relay to wake."""


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
