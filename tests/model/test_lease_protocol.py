"""The guarantee of hard budgets, as stated: what providers bill for requests admitted in a window is within its limit.

For three gateways and any crash, loss of a disk, restart, duplicate, reorder, replay, raise, cut and change of day.
"""

from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from budget.shares.rules import WindowKey
from farebox.events import UsagePriced
from farebox.ids import new_id
from farebox.leasing import LeaseReport
from gateway.admission.estimate import Amount
from gateway.shares.leases import PoolKey
from model.world import BEGINNING, Call, Completed, Fenced, Gateway, Service, a_budget, priced

USERS = ("an", "binh")
GATEWAYS = (0, 1, 2)


class LeaseProtocol(RuleBasedStateMachine):
    """A company of two users, an org budget above theirs, three gateways."""

    @initialize(org=st.integers(0, 300), user=st.integers(0, 300), calls=st.integers(3, 60))
    def begin(self, org: int, user: int, calls: int) -> None:
        self.service = Service(
            [
                a_budget("acme", "org", org),
                a_budget("acme", "org", calls, "requests"),
                a_budget("an", "user", user),
                a_budget("binh", "user", user // 2),
            ]
        )
        self.gateways = [Gateway(f"gw-{place}", self.service) for place in GATEWAYS]
        self.under_way: list[tuple[Gateway, Call]] = []
        self.bill: dict[UUID, tuple[int, Call]] = {}
        self.admitted_at: dict[UUID, datetime] = {}
        self.outbound: list[tuple[Gateway, Completed]] = []
        self.bus: list[Completed] = []
        self.ledger: dict[UUID, UsagePriced] = {}
        self.said: list[tuple[str, int, tuple[LeaseReport, ...]]] = []
        self.clock = 0.0
        for gateway in self.gateways:
            gateway.boot()

    def pool(self, user: str) -> PoolKey:
        return "USD", tuple(sorted(budget.budget_id for budget in self.service.path(user)))

    # Calls

    @rule(
        place=st.sampled_from(GATEWAYS),
        user=st.sampled_from(USERS),
        reserve=st.integers(1, 40),
        ahead=st.integers(0, 100),
        answer_is_lost=st.sampled_from([False, False, False, True]),
        ends=st.sampled_from(["later", "at once", "at once"]),
        data=st.data(),
    )
    def call(
        self, place: int, user: str, reserve: int, ahead: int, answer_is_lost: bool, ends: str, data: st.DataObject
    ) -> None:
        gateway, pool = self.gateways[place], self.pool(user)
        admitted = gateway.admit(user, pool, reserve, self.clock)
        if admitted is None:
            self.ask(gateway, user, reserve, ahead, answer_is_lost)
            admitted = gateway.admit(user, pool, reserve, self.clock)
        if admitted is not None:
            self.admitted_at[admitted.attempt] = self.service.now
            self.is_of_its_window(admitted)
            self.under_way.append((gateway, admitted))
            if ends == "at once":
                self.answer(len(self.under_way) - 1, data)

    def is_of_its_window(self, call: Call) -> None:
        windows = {budget.window_key(self.service.now) for budget in self.service.path(call.user)}
        held = {share.key for (lease, _), share in self.service.shares.items() if lease == call.hold.lease.id}
        assert held == windows

    def ask(self, gateway: Gateway, user: str, reserve: int, ahead: int, answer_is_lost: bool) -> None:
        pool = self.pool(user)
        gateway.leases.close_small(pool, Amount(reserve, 1, 10))
        reports = gateway.leases.reports(100)
        wires = tuple(report.wire for report in reports)
        self.said.append((gateway.name, gateway.epoch, wires))
        lease = self.service.grant(gateway.name, gateway.epoch, new_id(), user, reserve, reserve + ahead, wires)
        if answer_is_lost:
            return
        gateway.leases.acknowledge(reports)
        if lease is not None:
            gateway.take(pool, lease, self.clock)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def the_provider_answers(self, data: st.DataObject) -> None:
        self.answer(data.draw(st.integers(0, len(self.under_way) - 1)), data)

    def answer(self, place: int, data: st.DataObject) -> None:
        gateway, call = self.under_way.pop(place)
        cost = data.draw(st.sampled_from([call.reserve, call.reserve, call.reserve // 2, 0]))
        self.bill[call.attempt] = (cost, call)
        self.outbound.append((gateway, gateway.complete(call, cost)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def the_provider_bills_and_the_gateway_dies_before_it_knows(self, data: st.DataObject) -> None:
        gateway, call = data.draw(st.sampled_from(self.under_way))
        self.bill[call.attempt] = (data.draw(st.integers(0, call.reserve)), call)
        self.kill(self.gateways.index(gateway))

    # Messages

    @precondition(lambda self: self.outbound)
    @rule(data=st.data(), is_noted=st.booleans())
    def kafka_takes_an_event(self, data: st.DataObject, is_noted: bool) -> None:
        gateway, event = data.draw(st.sampled_from(self.outbound))
        self.bus.append(event)
        if is_noted:
            self.outbound.remove((gateway, event))
            gateway.published(event.attempt)

    @precondition(lambda self: self.bus)
    @rule(data=st.data())
    def metering_and_budget_take_events_late_twice_and_in_any_order(self, data: st.DataObject) -> None:
        events = data.draw(st.lists(st.sampled_from(self.bus), min_size=1, max_size=4))
        self.post(events)

    @rule(place=st.sampled_from(GATEWAYS), is_acknowledged=st.booleans())
    def heartbeat(self, place: int, is_acknowledged: bool) -> None:
        gateway = self.gateways[place]
        gateway.leases.tick(self.clock)
        reports = gateway.leases.reports(100)
        wires = tuple(report.wire for report in reports)
        self.said.append((gateway.name, gateway.epoch, wires))
        self.service.heartbeat(gateway.name, gateway.epoch, wires)
        if is_acknowledged:
            gateway.leases.acknowledge(reports)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def an_old_report_arrives_again(self, data: st.DataObject) -> None:
        name, epoch, wires = data.draw(st.sampled_from(self.said))
        try:
            self.service.heartbeat(name, epoch, wires)
        except Fenced:
            assert self.service.epochs[name] > epoch

    @rule(place=st.sampled_from(GATEWAYS), user=st.sampled_from(USERS))
    def a_process_that_was_replaced_is_granted_nothing(self, place: int, user: str) -> None:
        gateway = self.gateways[place]
        try:
            self.service.grant(gateway.name, gateway.epoch - 1, new_id(), user, 1, 1, ())
        except Fenced:
            return
        raise AssertionError("granted to an epoch that is over")

    # Accidents

    @rule(place=st.sampled_from(GATEWAYS))
    def kill(self, place: int) -> None:
        self.end(place, loses_disk=False)

    @rule(place=st.sampled_from(GATEWAYS))
    def lose_the_node(self, place: int) -> None:
        self.end(place, loses_disk=True)

    def end(self, place: int, *, loses_disk: bool) -> None:
        gateway = self.gateways[place]
        self.under_way = [(owner, call) for owner, call in self.under_way if owner is not gateway]
        self.outbound = [(owner, event) for owner, event in self.outbound if owner is not gateway]
        gateway.crash(loses_disk=loses_disk)
        self.outbound += [(gateway, event) for event in gateway.boot()]

    @rule(place=st.sampled_from(GATEWAYS))
    def rotate_the_journal(self, place: int) -> None:
        self.gateways[place].is_segment_full = True

    @rule(place=st.sampled_from(GATEWAYS), is_acknowledged=st.booleans())
    def recall(self, place: int, is_acknowledged: bool) -> None:
        gateway = self.gateways[place]
        gateway.leases.recall([total.lease_id for total in gateway.leases.totals()])
        self.heartbeat(place, is_acknowledged)

    # The world

    @rule(place=st.integers(0, 3), limit=st.integers(0, 300))
    def set_a_limit(self, place: int, limit: int) -> None:
        self.service.set_limit(place, limit)

    @rule(hours=st.sampled_from([1, 7, 25]))
    def time_passes(self, hours: int) -> None:
        self.clock += hours * 3600
        self.service.now += timedelta(hours=hours)

    # What holds

    def post(self, events: list[Completed]) -> None:
        for event in events:
            self.ledger.setdefault(event.attempt, priced(event, BEGINNING))
        self.service.post([self.ledger[event.attempt] for event in events])

    @invariant()
    def no_window_promises_more_than_its_limit_unless_it_says_so(self) -> None:
        for window in self.service.windows.values():
            room = window.room
            assert min(room.escrowed, room.suspended, room.posted) >= 0
            assert room.posted + room.escrowed + room.suspended <= room.limit or room.is_over

    @invariant()
    def what_providers_bill_is_within_the_limit(self) -> None:
        """Of every budget on a call's path, in the window in which the call was admitted."""
        spent: dict[WindowKey, int] = {}
        for attempt, (cost, call) in self.bill.items():
            for budget in self.service.path(call.user):
                key = budget.window_key(self.admitted_at[attempt])
                spent[key] = spent.get(key, 0) + (cost if budget.measure == "money" else 1)
        for key, amount in spent.items():
            assert amount <= self.service.highest_limit[key]

    @invariant()
    def the_ledger_and_the_postings_agree(self) -> None:
        assert self.service.posted == {id_: entry.billed_nano for id_, entry in self.ledger.items()}

    @invariant()
    def every_window_holds_what_its_shares_hold(self) -> None:
        for key, window in self.service.windows.items():
            shares = [share for share in self.service.shares.values() if share.key == key]
            assert window.room.escrowed == sum(share.held for share in shares if not share.is_suspended)
            assert window.room.suspended == sum(share.held for share in shares if share.is_suspended)

    def teardown(self) -> None:
        if not hasattr(self, "service"):
            return
        self.end_the_day()
        before = {key: window.room for key, window in self.service.windows.items()}
        self.post(self.bus)  # from offset 0 again
        assert before == {key: window.room for key, window in self.service.windows.items()}
        for room in before.values():
            assert room.escrowed == 0
        known = set(self.ledger)
        for attempt, (_, call) in self.bill.items():
            shares = [share for (lease, _), share in self.service.shares.items() if lease == call.hold.lease.id]
            assert attempt in known or any(share.is_suspended for share in shares)
        for attempt, (cost, _) in self.bill.items():
            assert attempt not in self.ledger or (self.ledger[attempt].billed_nano or 0) >= cost

    def end_the_day(self) -> None:
        """Every call ends, every message arrives, one gateway stops gracefully, and all are started once more."""
        for gateway, call in self.under_way:
            self.bill[call.attempt] = (call.reserve, call)
            self.outbound.append((gateway, gateway.complete(call, call.reserve)))
        self.bus += [event for _, event in self.outbound]
        graceful = self.gateways[0]
        graceful.leases.close_all()
        reports = graceful.leases.reports(10_000)
        self.service.heartbeat(graceful.name, graceful.epoch, [report.wire for report in reports])
        for gateway in self.gateways:
            gateway.crash()
            self.bus += gateway.boot()
        if self.bus:
            self.post(self.bus)


LeaseProtocol.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLeaseProtocol = LeaseProtocol.TestCase
