"""What can happen to three gateways and their budget service, and to the messages and events between them."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from budget.errors import Fenced
from budget.shares.rules import WindowKey
from budget.shares.silence import LOOK_EVERY_S
from farebox.matching import Narrowing
from farebox.shares import Answer, Beat, RaiseRequest
from gateway.budget_link.questions import Question
from model.onlooker import Onlooker, gateway_share
from model.world import (
    MODELS,
    ORG,
    RELEASE_AFTER_S,
    Books,
    Call,
    Gateway,
    Sent,
    Told,
    a_budget,
    corrected,
    minutes,
    priced,
    run,
)

USERS: Final = ("an", "binh")
GATEWAYS: Final = (0, 1, 2)
CALLERS: Final = (("an", MODELS[1]), ("an", MODELS[0]), ("binh", MODELS[0]))
"""Whose calls, together, meet every budget."""
TWINS_MAX: Final = 2
LOST_AFTER_S: Final = 300.0

How: TypeAlias = Literal["at once", "answer lost", "late"]
"""What becomes of a message and its answer."""


class Wish(NamedTuple):
    """A call that somebody wants to make."""

    user: str
    model: str
    reserve: int
    bill: int
    is_reported: bool = True


class Story:
    """A company of two users, budgets of the org above theirs, three gateways."""

    def __init__(self, org: int, user: int, calls: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="farebox-model-"))
        self.books = Books(
            [
                a_budget(ORG, "org", org),
                a_budget(ORG, "org", calls, "requests"),
                a_budget("an", "user", user),
                a_budget("an", "user", user // 2, narrowed_to=Narrowing(model=MODELS[1])),
                a_budget("binh", "user", user // 2),
            ],
            USERS,
        )
        self.onlooker = Onlooker(self.books)
        self.gateways = [Gateway(f"gw-{place}", self.books, self.folder / f"gw-{place}") for place in GATEWAYS]
        self.twins: list[Gateway] = []
        self.copies: dict[int, tuple[Path, int]] = {}
        self.made = 0
        self.is_told_twice = False
        self.outbound: list[tuple[Call | None, Told]] = []
        self.bus: list[Told] = []
        self.unsure: dict[UUID, tuple[Told, int]] = {}
        self.net: list[Sent] = []
        self.budget_ids = list(self.books.store.tables.budgets)
        for gateway in self.gateways:
            gateway.boot()

    def processes(self) -> list[Gateway]:
        return [*self.gateways, *self.twins]

    # Calls

    def call(self, gateway: Gateway, wish: Wish, how: How | None = "at once") -> Call | None:
        """From what is in hand, else asked for if it may be: for the policy, for windows, for those of a new day."""
        for _ in range(4):
            if gateway.standing.is_fenced:
                return None
            verdict = gateway.admit(wish.user, wish.model, wish.reserve, wish.bill)
            if isinstance(verdict, Call):
                self.onlooker.admitted(verdict)
                return verdict
            if how is None or not self.asked(gateway, verdict, how):
                return None
        return None

    def asked(self, gateway: Gateway, question: Question, how: How) -> bool:
        """Whether the answer is worth another look at what is in hand."""
        sent = gateway.ask(question)
        if how != "at once":
            gateway.questions._lost(question)
            self.onlooker.loses(gateway, question)
            self.net.append(sent)  # it comes some day; where only the answer was lost, once more
        if how == "late":
            return False
        answer = self.deliver(sent, is_answered=how == "at once")
        return isinstance(answer, Answer) and answer.refusal is None

    def end(self, call: Call, *, is_reported: bool = True) -> None:
        """What a provider does not report is charged at an estimate."""
        is_known = is_reported or call.excess
        charge, uncertain = (call.bill, 0) if is_known else (call.reserve // 3, call.reserve - call.reserve // 3)
        self.outbound.append((call, call.gateway.settle(call, charge, uncertain)))

    def end_all(self, gateway: Gateway) -> None:
        for call in list(gateway.calls):
            self.end(call)

    # Messages

    def deliver(self, sent: Sent, *, is_answered: bool) -> Answer | Beat | None:
        """To the service, and its answer back to the process that asked, which may be fenced by it."""
        gateway, request = sent.gateway, sent.request
        answer: Answer | Beat | None = None
        try:
            match request:
                case RaiseRequest():
                    self.onlooker.asks(request)
                    answer = run(self.books.raises.answer(request)).answers[0]
                    if is_answered and sent.question is not None:
                        gateway.shares.acknowledge(sent.reports)
                        asked: Any = SimpleNamespace(question=sent.question, asked_at=self.books.clock.monotonic())
                        gateway.questions._learn(asked, answer)
                        self.onlooker.hears(gateway, sent.question)
                case Beat():
                    answer = request
                    heard = run(self.books.operations.beat(request))
                    if is_answered:
                        gateway.standing.answered(self.books.clock.monotonic())
                        gateway.heartbeat._heard(sent.reports, heard)
        except Fenced:
            gateway.standing.is_fenced |= is_answered
            return None
        self.onlooker.is_answered(request)
        self.onlooker.counters_only_grow()
        return answer if is_answered else None

    def beat(self, gateway: Gateway, how: How = "at once") -> None:
        sent = gateway.beat()
        if how != "at once":
            self.net.append(sent)
        unheard = self.onlooker.unheard(gateway)
        if how != "late" and self.deliver(sent, is_answered=how == "at once"):
            for question in gateway.questions.unheard():
                self.deliver(gateway.ask(question), is_answered=True)
            self.onlooker.knows_what_it_was_granted(gateway, unheard)

    def everybody_is_heard(self) -> None:
        """Twice, for what the first answers tell of; what nobody uses is given back."""
        for gateway in 2 * self.gateways:
            gateway.shares.close_all()
            self.beat(gateway)

    def pass_time(self, seconds: float) -> None:
        """Those that live are heard then."""
        self.books.clock.move(minutes(seconds / 60))
        for gateway in self.gateways:
            self.beat(gateway)

    # Events

    def post(self, events: Sequence[Told]) -> None:
        fresh = [told for told in events if told.attempt not in self.books.store.tables.posted]
        self.books.post([priced(told) for told in events])
        for told in fresh:
            if told.uncertain and told.attempt in self.onlooker.calls:
                self.unsure[told.attempt] = told, self.onlooker.calls[told.attempt].bill

    def post_all(self) -> None:
        """Every event that there is, once more, too."""
        self.bus += [told for _, told in self.outbound]
        self.outbound = []
        if self.bus:
            self.post(self.bus)

    def correct(self, attempt: UUID) -> None:
        told, bill = self.unsure.pop(attempt)
        self.books.post([corrected(told, bill)])

    # Processes

    def stop(self, place: int) -> None:
        """At once: what was written stays, nothing is closed in order."""
        gateway = self.gateways[place]
        gateway.die()
        self.outbound = [(call, told) for call, told in self.outbound if call is None or call.gateway is not gateway]

    def start(self, place: int) -> None:
        old = self.gateways[place]
        new = self.gateways[place] = Gateway(old.name, self.books, old.folder, old.boot_id)
        self.outbound += [(None, told) for told in new.boot()]

    def start_a_twin(self, place: int) -> None:
        """Of the same name, on an empty disk; the older one lives on."""
        old = self.gateways[place]
        self.made += 1
        self.twins.append(old)
        self.copies.pop(place, None)
        self.gateways[place] = Gateway(old.name, self.books, self.folder / f"{old.name}-{self.made}")
        self.start(place)

    def cut_off(self, place: int) -> None:
        """For so long that all that it holds is in suspense, with what others hold until they are heard again."""
        for _ in range(int(RELEASE_AFTER_S / LOOK_EVERY_S) + 1):
            self.books.clock.move(minutes(LOOK_EVERY_S / 60))
            run(self.books.operations.suspend_lost(minutes(LOST_AFTER_S / 60)))
        for gateway in self.gateways:
            if gateway is not self.gateways[place]:
                self.beat(gateway)

    def bring_the_old_disk_back(self, place: int) -> None:
        """But for the records after the copy, of which at least one beat has told."""
        gateway, (copy, last_record) = self.gateways[place], self.copies.pop(place)
        if gateway.journal.last_record > last_record:
            self.beat(gateway)
        self.onlooker.forgets_ends(gateway)
        self.stop(place)
        shutil.rmtree(gateway.folder)
        copy.rename(gateway.folder)
        self.is_told_twice = True
        self.start(place)

    # The end

    def ends(self) -> None:
        """Every call ends, every message arrives, what may return does, and all of it is spent again and again."""
        place = self.made % len(GATEWAYS)
        self.somebody_spends_what_is_left(place)
        for gateway in self.processes():
            self.end_all(gateway)
        self.post_all()
        self.somebody_spends_what_is_left(place)
        for gateway in self.gateways:
            self.end_all(gateway)
        self.post_all()
        for attempt in list(self.unsure):
            self.correct(attempt)
        self.somebody_asks_for_what_is_left()
        self.onlooker.judge()
        self.onlooker.nothing_is_left(is_told_twice=self.is_told_twice)
        self.onlooker.halves_agree(self.gateways)
        before = {key: window.room for key, window in self.books.store.tables.windows.items()}
        self.post_all()
        assert before == {key: window.room for key, window in self.books.store.tables.windows.items()}

    def somebody_asks_for_what_is_left(self) -> None:
        """What came so late that nobody waited for it any more, on another day perhaps, is given back when it is asked
        for."""
        self.everybody_is_heard()
        tables = self.books.store.tables
        tables.recalled |= {share.key for share in tables.shares.values() if share.held and not share.is_suspended}
        self.everybody_is_heard()

    def somebody_spends_what_is_left(self, place: int) -> None:
        """Everything idle is given back, and one asks for all of it. What is billed then is no more than the present
        limits, or what was out before, and bills above reserves that no gateway has told of."""
        self.everybody_is_heard()
        most = self._most()
        for twin in self.twins:
            self._spend(twin, None)
        self._spend(self.gateways[place], "at once")
        for key, amount in most.items():
            assert self.onlooker.billed[key] <= amount, f"billed {self.onlooker.billed[key]} of {amount} in {key}"

    def _most(self) -> dict[WindowKey, int]:
        now, tables = self.books.clock.now(), self.books.store.tables
        unheard = self.onlooker.unheard_excess(self.gateways)
        most = {}
        for budget in tables.budgets.values():
            key = budget.window_key(now)
            out = tables.windows[key].room.out if key in tables.windows else 0
            most[key] = max(budget.limit, out) + unheard[key]
        return most

    def _spend(self, gateway: Gateway, how: How | None) -> None:
        """A few of the smallest calls, and then one as large as it can be."""
        for user, model in CALLERS:
            for _ in range(3):
                self.call(gateway, Wish(user, model, 1, 1), how)
            while (left := self._left(gateway, user, model, how)) and self.call(
                gateway, Wish(user, model, left, left), how
            ):
                pass

    def _left(self, gateway: Gateway, user: str, model: str, how: How | None) -> int:
        """What one call can cost at most: what is in hand, and what the books would still give if they are asked."""
        windows, now = self.books.store.tables.windows, self.books.clock.now()
        left = []
        for budget in self.books.path(user, model):
            if budget.measure == "money":
                key = budget.window_key(now)
                free = windows[key].room.free if key in windows else budget.limit
                share = gateway_share(gateway, key)
                left.append((share.room if share else 0) + (0 if how is None else free))
        return min(left)

    def close(self) -> None:
        for gateway in self.processes():
            gateway.die()
        shutil.rmtree(self.folder, ignore_errors=True)
