"""The two halves compose: a region holds shares of the books' windows and hands out shares of them to its gateways.

To the books a region is one gateway, to its gateways it is the books. Nothing new is needed for it: below, the rules of
`budget.shares.rules` run on both levels, and a gateway's own `Shares` below them. A region that is cut off goes on with
what it holds; the other regions lose nothing by it, and the limit holds.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from budget.shares.rules import Positions, Raised, Room, ShareKey, Wanted, WindowKey, raise_all
from gateway.shares.amount import Amount
from gateway.shares.shares import Hold, Shares, Window
from gateway.shares.shares import WindowKey as GatewayWindow

BUDGET = UUID(int=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
KEY: WindowKey = (BUDGET, START)
WINDOW = Window(GatewayWindow(BUDGET, START), 0, None)


class Allocator:
    """Whoever hands out shares of a window: its room, and what others hold of it."""

    def __init__(self, limit: int) -> None:
        self.books = Positions({KEY: Room(KEY, "money", limit, 0, 0, 0)}, {})
        self.posted: set[int] = set()

    @property
    def room(self) -> Room:
        return self.books.rooms[KEY]

    def key(self, holder: str) -> ShareKey:
        return ShareKey(BUDGET, START, holder, 1)

    def raise_to(self, holder: str, total: int) -> int:
        """The total there is then."""
        share = self.books.share(self.key(holder))
        more = max(0, total - share.granted)
        verdict = raise_all([self.room], {KEY: Wanted(more, more, more)}, {})
        if isinstance(verdict, Raised):
            self.books.raised(share.key, verdict.more[KEY])
        return self.books.share(share.key).granted

    def hear(self, holder: str, *, returned: int, overdrawn: int) -> int:
        share = self.books.share(self.key(holder))
        self.books.become(share.reported(returned=returned, overdrawn=overdrawn))
        return share.granted

    def post(self, event: "Event", holder: str) -> None:
        if event.number not in self.posted:
            self.posted.add(event.number)
            self.books.rooms[KEY] = self.room.moved(posted=event.amount)
            self.books.become(self.books.share(self.key(holder)).charged(event.amount))


class Region(Allocator):
    """An allocator whose limit is what it holds itself of the books' window."""

    def __init__(self, name: str, books: Allocator) -> None:
        super().__init__(0)
        self.name = name
        self.above = books
        self.granted = self.returned = self.overdrawn = 0
        self.is_cut_off = False

    def raise_to(self, holder: str, total: int) -> int:
        """From what it has, else with more from the books."""
        more = max(0, total - self.books.share(self.key(holder)).granted)
        if more > self.room.free and not self.is_cut_off:
            self.say()
            wanted = self.granted + more - self.room.free
            self.granted = max(self.granted, self.above.raise_to(self.name, wanted))
            self.resize()
        return super().raise_to(holder, total)

    def say(self) -> None:
        """A beat: totals up, the total down. What its gateways overdrew, it has overdrawn."""
        self.overdrawn += max(0, self.room.out - self.room.limit)
        self.resize()
        self.granted = max(self.granted, self.above.hear(self.name, returned=self.returned, overdrawn=self.overdrawn))
        self.resize()

    def give_back(self) -> None:
        self.returned += self.room.free
        self.resize()

    def resize(self) -> None:
        limit = self.granted + self.overdrawn - self.returned
        self.books.rooms[KEY] = self.room.limited(limit, is_hard=True)


@dataclass(frozen=True)
class Event:
    """A charge on its way to the books and to the region."""

    number: int
    gateway: str
    amount: int


@dataclass(eq=False)
class Gateway:
    name: str
    region: Region
    shares: Shares = field(default_factory=Shares)
    calls: list[tuple[int, Hold, int]] = field(default_factory=list)

    def say(self) -> None:
        for report in self.shares.reports(10, also=1):
            total = self.region.hear(self.name, returned=report.wire.returned, overdrawn=report.wire.overdrawn)
            self.shares.acknowledge([report])
            self.shares.total(WINDOW.key, total)


class Regions(RuleBasedStateMachine):
    """Two regions of two gateways each, one budget."""

    @initialize(limit=st.integers(0, 300))
    def begin(self, limit: int) -> None:
        self.top = Allocator(limit)
        self.regions = [Region("hanoi", self.top), Region("seoul", self.top)]
        self.gateways = [Gateway(f"{region.name}-{place}", region) for region in self.regions for place in (1, 2)]
        self.limit = limit
        self.billed = self.excess = self.calls = 0
        self.events: list[Event] = []
        self.refused: Counter[str] = Counter()

    @rule(place=st.integers(0, 3), reserve=st.integers(1, 40), beyond=st.sampled_from([0, 0, 0, 25]))
    def call(self, place: int, reserve: int, beyond: int) -> None:
        gateway = self.gateways[place]
        need = Amount(reserve)
        hold = gateway.shares.reserve([WINDOW], need, 0)
        if hold is None:
            gateway.say()
            least, _, want = gateway.shares.wanted(WINDOW, least=reserve, need=reserve, now=0)
            gateway.shares.granted(WINDOW, gateway.region.raise_to(gateway.name, max(least, want // 2)), 0)
            hold = gateway.shares.reserve([WINDOW], need, 0)
        if hold is not None:
            self.calls += 1
            gateway.calls.append((self.calls, hold, reserve + beyond))
            self.billed += reserve + beyond
            self.excess += beyond

    @precondition(lambda self: any(gateway.calls for gateway in self.gateways))
    @rule(data=st.data())
    def a_call_ends(self, data: st.DataObject) -> None:
        gateway = data.draw(st.sampled_from([each for each in self.gateways if each.calls]))
        number, hold, bill = gateway.calls.pop()
        gateway.shares.settle(hold, Amount(bill))
        self.events.append(Event(number, gateway.name, bill))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), is_first_of_both=st.booleans())
    def an_event_arrives_above_or_below_first_or_twice(self, data: st.DataObject, is_first_of_both: bool) -> None:
        event = data.draw(st.sampled_from(self.events))
        region = next(each.region for each in self.gateways if each.name == event.gateway)
        if is_first_of_both:
            self.top.post(event, region.name)
        else:
            region.post(event, event.gateway)

    @rule(place=st.integers(0, 3))
    def a_gateway_gives_back_and_says_so(self, place: int) -> None:
        self.gateways[place].shares.close_all()
        self.gateways[place].say()

    @rule(place=st.integers(0, 1))
    def a_region_gives_back_and_says_so(self, place: int) -> None:
        region = self.regions[place]
        if not region.is_cut_off:
            region.give_back()
            region.say()

    @rule(place=st.integers(0, 1), is_cut_off=st.booleans())
    def a_region_is_cut_off_or_back(self, place: int, is_cut_off: bool) -> None:
        self.regions[place].is_cut_off = is_cut_off

    @invariant()
    def what_is_billed_is_within_the_limit(self) -> None:
        assert self.billed <= self.limit + self.excess

    @invariant()
    def the_books_give_out_no_more_than_the_limit(self) -> None:
        assert self.top.room.out <= self.limit + self.excess

    def teardown(self) -> None:
        """Everything ends and is told: nothing is stranded on either level."""
        if not hasattr(self, "top"):
            return
        for gateway in self.gateways:
            for number, hold, bill in gateway.calls:
                gateway.shares.settle(hold, Amount(bill))
                self.events.append(Event(number, gateway.name, bill))
            for _ in range(2):
                gateway.shares.close_all()
                gateway.say()
        for event in self.events:
            region = next(each.region for each in self.gateways if each.name == event.gateway)
            self.top.post(event, region.name)
            region.post(event, event.gateway)
        for region in self.regions:
            for _ in range(2):
                region.give_back()
                region.say()
        assert self.top.room.escrowed == 0
        assert all(region.room.escrowed == 0 for region in self.regions)
        assert self.top.room.posted == self.billed


Regions.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRegions = Regions.TestCase
