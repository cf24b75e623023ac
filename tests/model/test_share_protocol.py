"""The guarantee of hard budgets, as stated: what providers bill for requests admitted in a window is within its limit.

For three gateways and any crash, power cut, lost or old disk, twin, restart, lost, doubled, late or reordered message,
replay, raise, cut and change of day; for bills above their reserve, too, but for their excess.
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from budget.errors import Fenced, StillAlive
from budget.shares.rules import WindowKey
from farebox.errors import NotFound
from farebox.matching import Narrowing
from farebox.shares import Beat, RaiseRequest
from gateway.budget_link.questions import Question
from model.world import MODELS, ORG, Books, Call, Gateway, Sent, Told, a_budget, corrected, minutes, priced, run

USERS = ("an", "binh")
GATEWAYS = (0, 1, 2)


class ShareProtocol(RuleBasedStateMachine):
    """A company of two users, budgets of the org above theirs, three gateways."""

    @initialize(org=st.integers(0, 300), user=st.integers(0, 300), calls=st.integers(3, 60))
    def begin(self, org: int, user: int, calls: int) -> None:
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
        self.budget_ids = list(self.books.store.tables.budgets)
        self.gateways = [Gateway(f"gw-{place}", self.books, self.folder / f"gw-{place}") for place in GATEWAYS]
        self.twins: list[Gateway] = []
        self.copies: dict[int, tuple[Path, int]] = {}
        self.made = 0
        self.billed: Counter[WindowKey] = Counter()
        self.excess: Counter[WindowKey] = Counter()
        self.outbound: list[tuple[Call | None, Told]] = []
        self.bus: list[Told] = []
        self.unsure: dict[UUID, tuple[Told, int]] = {}
        self.net: list[Sent] = []
        self.calls: dict[UUID, Call] = {}
        for gateway in self.gateways:
            gateway.boot()

    def processes(self) -> list[Gateway]:
        return [*self.gateways, *self.twins]

    # Calls

    @rule(
        place=st.integers(0, 5),
        times=st.sampled_from([1, 1, 3, 8]),
        user=st.sampled_from(USERS),
        model=st.sampled_from(MODELS),
        reserve=st.integers(1, 40),
        beyond=st.sampled_from([0, 0, 0, 0, 0, 1, 25]),
        how=st.sampled_from(["at once", "at once", "at once", "answer lost", "late"]),
        data=st.data(),
    )
    def calls_come(
        self, place: int, times: int, user: str, model: str, reserve: int, beyond: int, how: str, data: Any
    ) -> None:
        """One after the other at gateways in turn, which spend what there is."""
        for turn in range(times):
            self.call(
                place + turn, user, model, reserve, beyond if not turn else 0, how if not turn else "at once", data
            )

    def call(self, place: int, user: str, model: str, reserve: int, beyond: int, how: str, data: Any) -> None:
        """From what is in hand, else asked for, at most as often as a key and its windows make necessary."""
        processes = self.processes()
        gateway = processes[place % len(processes)]
        bill = reserve + beyond if beyond else data.draw(st.sampled_from([reserve, reserve, reserve // 2, 0]))
        for _ in range(3):
            if gateway.standing.is_fenced:
                return
            verdict = gateway.admit(user, model, reserve, bill)
            if isinstance(verdict, Call):
                self.admitted(verdict, beyond)
                return
            if not self.asked(gateway, verdict, how):
                return

    def asked(self, gateway: Gateway, question: Question, how: str) -> bool:
        """Whether there was an answer."""
        sent = gateway.ask(question)
        if how != "at once":
            gateway.questions._lost(question)
            self.net.append(sent)  # it comes some day; where only the answer was lost, once more
        if how == "late":
            return False
        return self.deliver(sent, is_answered=how == "at once")

    def admitted(self, call: Call, beyond: int) -> None:
        """Billed from here on, whatever happens to the gateway; and held in every hard budget that it meets."""
        now = self.books.clock.now()
        held = {(share.key.budget_id, share.key.start) for share in call.hold.shares}
        assert held == {budget.window_key(now) for budget in self.books.path(call.user, call.model)}
        self.calls[call.attempt] = call
        for share in call.hold.shares:
            key = (share.key.budget_id, share.key.start)
            self.billed[key] += call.bill if share.measure == 0 else 1
            self.excess[key] += beyond if share.measure == 0 else 0

    @precondition(lambda self: any(gateway.calls for gateway in self.processes()))
    @rule(data=st.data(), is_reported=st.sampled_from([True, True, True, False]))
    def a_call_ends(self, data: Any, is_reported: bool) -> None:
        gateway = data.draw(st.sampled_from([each for each in self.processes() if each.calls]))
        call = data.draw(st.sampled_from(gateway.calls))
        if is_reported or call.bill > call.reserve:
            charge, uncertain = call.bill, 0
        else:
            charge = data.draw(st.integers(0, call.reserve))
            uncertain = call.reserve - charge
        self.outbound.append((call, gateway.settle(call, charge, uncertain)))

    # Messages

    def deliver(self, sent: Sent, *, is_answered: bool) -> bool:
        """To the service, and its answer back to the process that asked."""
        gateway, request = sent.gateway, sent.request
        try:
            match request:
                case RaiseRequest():
                    answer = run(self.books.raises.answer(request))
                    if is_answered and sent.question is not None:
                        gateway.shares.acknowledge(sent.reports)
                        asked: Any = SimpleNamespace(question=sent.question, asked_at=self.books.clock.monotonic())
                        gateway.questions._learn(asked, answer.answers[0])
                case Beat():
                    beat = run(self.books.operations.beat(request))
                    if is_answered:
                        gateway.standing.answered(self.books.clock.monotonic())
                        gateway.heartbeat._heard(sent.reports, beat)
        except Fenced:
            gateway.standing.is_fenced |= is_answered
            return False
        return is_answered

    @rule(place=st.integers(0, 5), how=st.sampled_from(["at once", "at once", "answer lost", "late"]))
    def beat(self, place: int, how: str) -> None:
        processes = self.processes()
        sent = processes[place % len(processes)].beat()
        if how != "at once":
            self.net.append(sent)
        if how != "late" and self.deliver(sent, is_answered=how == "at once"):
            self.ask_again(sent.gateway)

    def ask_again(self, gateway: Gateway) -> None:
        for question in gateway.questions.unheard():
            self.deliver(gateway.ask(question), is_answered=True)

    @precondition(lambda self: self.net)
    @rule(data=st.data(), again=st.booleans(), is_answered=st.booleans())
    def an_old_message_arrives(self, data: Any, again: bool, is_answered: bool) -> None:
        sent = data.draw(st.sampled_from(self.net))
        if not again:
            self.net.remove(sent)
        self.deliver(sent, is_answered=is_answered and sent.gateway in self.processes())

    @precondition(lambda self: self.outbound)
    @rule(data=st.data(), is_noted=st.booleans())
    def kafka_takes_an_event(self, data: Any, is_noted: bool) -> None:
        call, told = data.draw(st.sampled_from(self.outbound))
        self.bus.append(told)
        if is_noted:
            self.outbound.remove((call, told))
            if call is not None and call.gateway in self.processes():
                call.gateway.published(call)

    @precondition(lambda self: self.bus)
    @rule(data=st.data())
    def metering_and_budget_take_events_late_twice_and_in_any_order(self, data: Any) -> None:
        self.post(data.draw(st.lists(st.sampled_from(self.bus), min_size=1, max_size=4)))

    @precondition(lambda self: self.unsure)
    @rule(data=st.data())
    def the_true_usage_is_entered(self, data: Any) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.unsure)))
        told, bill = self.unsure.pop(attempt)
        self.books.post([corrected(told, bill)])

    # Accidents

    @rule(place=st.sampled_from(GATEWAYS))
    def kill(self, place: int) -> None:
        """The journal is whole."""
        self.end(place)
        self.start(place)

    @rule(place=st.sampled_from(GATEWAYS), lines=st.integers(0, 6))
    def cut_the_power(self, place: int, lines: int) -> None:
        """The disk comes back without the last that was written, and the machine boots."""
        self.end(place)
        gateway = self.gateways[place]
        newest = max(gateway.folder.glob("segment-*"))
        kept = newest.read_bytes().splitlines(keepends=True)
        newest.write_bytes(b"".join(kept[: max(1, len(kept) - lines)]))
        gateway.boot_id += "'"
        self.start(place)

    @rule(place=st.sampled_from(GATEWAYS))
    def lose_the_disk(self, place: int) -> None:
        self.end(place)
        shutil.rmtree(self.gateways[place].folder)
        self.start(place)

    @rule(place=st.sampled_from(GATEWAYS))
    def copy_the_disk(self, place: int) -> None:
        """What the service was told by then, it was told."""
        gateway = self.gateways[place]
        self.deliver(gateway.beat(), is_answered=True)
        self.copies[place] = gateway.copy_of_the_disk(self.folder / f"copy-{place}"), gateway.journal.last_record

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def bring_the_old_disk_back(self, data: Any) -> None:
        place = data.draw(st.sampled_from(sorted(self.copies)))
        gateway, (copy, last_record) = self.gateways[place], self.copies.pop(place)
        if gateway.journal.last_record > last_record:  # at least one beat told of what came after
            self.deliver(gateway.beat(), is_answered=True)
        self.end(place)
        shutil.rmtree(gateway.folder)
        copy.rename(gateway.folder)
        self.start(place)

    @rule(place=st.sampled_from(GATEWAYS))
    def start_a_twin(self, place: int) -> None:
        """Of the same name, on an empty disk; the older one lives on."""
        old = self.gateways[place]
        self.made += 1
        self.twins.append(old)
        self.copies.pop(place, None)
        self.gateways[place] = Gateway(old.name, self.books, self.folder / f"{old.name}-{self.made}")
        self.start(place)

    @rule(place=st.sampled_from(GATEWAYS))
    def stop_in_order(self, place: int) -> None:
        gateway = self.gateways[place]
        for call in list(gateway.calls):
            self.outbound.append((call, gateway.settle(call, call.bill, 0)))
        gateway.shares.close_all()
        self.deliver(gateway.beat(), is_answered=True)
        gateway.journal.close()
        gateway.boot_id += "'"
        self.start(place)

    def end(self, place: int) -> None:
        gateway = self.gateways[place]
        gateway.die()
        self.outbound = [(call, told) for call, told in self.outbound if call is None or call.gateway is not gateway]

    def start(self, place: int) -> None:
        old = self.gateways[place]
        new = self.gateways[place] = Gateway(old.name, self.books, old.folder, old.boot_id)
        self.outbound += [(None, told) for told in new.boot()]

    @rule(place=st.sampled_from(GATEWAYS))
    def everything_lies_idle_and_is_given_back(self, place: int) -> None:
        self.gateways[place].shares.close_all()

    # The world

    @rule(place=st.integers(0, 4), limit=st.integers(0, 300))
    def set_a_limit(self, place: int, limit: int) -> None:
        self.books.set_limit(self.budget_ids[place], limit)

    @rule(hours=st.sampled_from([1, 7, 25]))
    def time_passes(self, hours: int) -> None:
        """Those that live are heard all the while."""
        self.books.clock.move(minutes(60 * hours))
        for gateway in self.gateways:
            self.deliver(gateway.beat(), is_answered=True)

    @rule()
    def somebody_looks_for_lost_gateways(self) -> None:
        run(self.books.operations.suspend_lost(minutes(10)))

    @rule(place=st.sampled_from(GATEWAYS))
    def nobody_releases_a_gateway_that_may_live(self, place: int) -> None:
        gateway = self.gateways[place]
        try:
            run(self.books.operations.release(gateway.name, gateway.standing.epoch.epoch, "it is dead, I think"))
        except (StillAlive, NotFound):
            return
        raise AssertionError("a gateway was released that had been heard a moment ago")

    # What holds

    def post(self, events: list[Told]) -> None:
        fresh = [told for told in events if told.attempt not in self.books.store.tables.posted]
        self.books.post([priced(told) for told in events])
        for told in fresh:
            if told.uncertain and told.attempt in self.calls:
                self.unsure[told.attempt] = told, self.calls[told.attempt].bill

    @invariant()
    def what_providers_bill_is_within_the_limit(self) -> None:
        """Of every budget that held a call, but for what was billed above a reserve."""
        for key, amount in self.billed.items():
            assert amount <= self.books.limit_of(key) + self.excess[key], (key, amount)

    @invariant()
    def no_window_gives_out_more_than_its_limit_unless_it_says_so(self) -> None:
        for key, window in self.books.store.tables.windows.items():
            room = window.room
            assert min(room.escrowed, room.suspended, room.uncertain) >= 0
            assert room.out <= room.limit or room.is_over
            assert room.out <= self.books.limit_of(key) + self.excess[key]

    @invariant()
    def every_window_holds_what_its_shares_hold(self) -> None:
        tables = self.books.store.tables
        for key, window in tables.windows.items():
            shares = [share for share in tables.shares.values() if share.key.window == key]
            assert window.room.escrowed == sum(share.held for share in shares if not share.is_suspended)
            assert window.room.suspended == sum(share.held for share in shares if share.is_suspended)
            assert window.room.uncertain == sum(
                amount for (_, window_key), amount in tables.uncertain.items() if window_key == key
            )

    def teardown(self) -> None:
        if not hasattr(self, "books"):
            return
        try:
            self.end_the_day()
            self.after_quiet()
        finally:
            for gateway in self.processes():
                gateway.journal.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def end_the_day(self) -> None:
        """Every call ends, every message arrives, and what may return does."""
        for gateway in self.processes():
            for call in list(gateway.calls):
                self.outbound.append((call, gateway.settle(call, call.bill, 0)))
        self.bus += [told for _, told in self.outbound]
        if self.bus:
            self.post(self.bus)
        for gateway in self.gateways:
            for _ in range(6):  # answers tell of raises whose answers were lost, some shares with each beat
                self.ask_again(gateway)
                gateway.shares.close_all()
                self.deliver(gateway.beat(), is_answered=True)
        self.somebody_asks_for_what_is_left()
        for told, bill in self.unsure.values():
            self.books.post([corrected(told, bill)])

    def somebody_asks_for_what_is_left(self) -> None:
        """What came so late that nobody waited for it any more, on another day perhaps, is given back when it is asked
        for."""
        tables = self.books.store.tables
        tables.recalled |= {share.key for share in tables.shares.values() if share.held and not share.is_suspended}
        for gateway in self.gateways:
            for _ in range(2):
                self.deliver(gateway.beat(), is_answered=True)

    def after_quiet(self) -> None:
        """Nothing is held but what went down with a node, nothing is uncertain, and another replay changes nothing."""
        tables = self.books.store.tables
        for window in tables.windows.values():
            assert window.room.escrowed == 0, "stranded"
            assert window.room.uncertain == 0, "uncertain for ever"
        before = {key: window.room for key, window in tables.windows.items()}
        if self.bus:
            self.post(self.bus)
        assert before == {key: window.room for key, window in self.books.store.tables.windows.items()}
        self.what_providers_bill_is_within_the_limit()


ShareProtocol.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestShareProtocol = ShareProtocol.TestCase
