"""Whatever happens to a gateway's shares, and in whatever order: its half of the protocol keeps its promises."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.shares.amount import Amount
from gateway.shares.shares import Hold, Report, Shares, Window, WindowKey

WINDOWS = [Window(WindowKey(UUID(int=number), datetime(2026, 6, 1, tzinfo=UTC)), 0, None) for number in range(3)]
windows = st.sampled_from(WINDOWS)
amounts = st.integers(0, 40)


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.shares = Shares()
        self.calls: list[Hold] = []
        self.sent: list[Report] = []
        self.granted = dict.fromkeys(WINDOWS, 0)
        self.spent = dict.fromkeys(WINDOWS, 0)
        self.before: dict[int, tuple[int, int, int]] = {}

    @rule(window=windows, total=amounts)
    def grant(self, window: Window, total: int) -> None:
        self.granted[window] = max(self.granted[window], total)
        self.shares.granted(window, total, 0)

    @rule(path=st.lists(windows, min_size=1, max_size=3, unique=True), amount=st.integers(1, 20))
    def admit(self, path: list[Window], amount: int) -> None:
        fits = self.shares.room(path).money >= amount
        hold = self.shares.reserve(path, Amount(amount), 0)
        assert (hold is not None) == fits
        if hold:
            self.calls.append(hold)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), spent=amounts)
    def settle(self, data: st.DataObject, spent: int) -> None:
        hold = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        fits = self.shares.settle(hold, Amount(spent))
        assert fits == (spent <= hold.amount.money)
        for window in WINDOWS:
            self.spent[window] += spent * any(share.key == window.key for share in hold.shares)

    @rule(window=windows)
    def recall(self, window: Window) -> None:
        self.shares.recall([window.key])

    @rule(limit=st.integers(0, 3), also=st.integers(0, 3))
    def report(self, limit: int, also: int) -> None:
        self.sent += self.shares.reports(limit, also=also)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Any report, in any order, and some twice."""
        self.shares.acknowledge([data.draw(st.sampled_from(self.sent))])

    @invariant()
    def room_is_never_negative_and_what_is_overdrawn_is_told(self) -> None:
        for report in self.shares.reports(99, also=99):
            share = report.share
            assert share.room >= 0
            assert share.overdrawn == report.wire.overdrawn >= 0

    @invariant()
    def totals_only_grow(self) -> None:
        for share, wire in self.shares.reports(99, also=99):
            now = (wire.granted, wire.returned, wire.overdrawn)
            old = self.before.get(share.key.budget_id.int, (0, 0, 0))
            assert all(after >= earlier for after, earlier in zip(now, old, strict=True))
            self.before[share.key.budget_id.int] = now

    @invariant()
    def the_service_holds_at_least_what_is_spent_and_under_way(self) -> None:
        """What the service knows last, with nothing posted: granted + overdrawn − returned."""
        for window in WINDOWS:
            last = [wire for share, wire in self.shares.reports(99, also=99) if share.key == window.key]
            for wire in last:
                held = wire.granted + wire.overdrawn - wire.returned
                under_way = sum(
                    hold.amount.money for hold in self.calls if any(share.key == window.key for share in hold.shares)
                )
                assert held >= self.spent[window] + under_way
                assert wire.granted == self.granted[window]

    @invariant()
    def the_journal_is_told_what_was_spent(self) -> None:
        told = {each.key: each.amount for each in self.shares.spent()}
        assert told == {window.key: spent for window, spent in self.spent.items() if spent}

    def teardown(self) -> None:
        """When all is quiet, everything has been told and only what was spent is kept."""
        for hold in self.calls:
            self.shares.void(hold)
        self.shares.close_all()
        self.shares.acknowledge(self.shares.reports(99))
        assert self.shares.reports(99) == []
        for share, wire in self.shares.reports(99, also=99):
            assert wire.granted + wire.overdrawn - wire.returned == share.spent


Story.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestStory = Story.TestCase
