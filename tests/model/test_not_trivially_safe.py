"""A protocol that grants nothing keeps every limit. This one spends it.

While demand lasts and everything is healthy, what stays unspent of the tightest budget on a path is less than one
call's worst case, wherever its rights had lain before; and no call is refused that would have fitted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget.budgets.rules import Budget
from budget.shares.rules import Obstacle, Short
from farebox.events import Measure
from farebox.ids import new_id
from gateway.admission.estimate import Amount
from gateway.admission.reservations import RECALL_WAIT_S
from gateway.budget_link.client import BEAT_S
from gateway.shares.leases import Leases, PoolKey
from model.hunt import HUNT
from model.world import BEGINNING, TOKENS, Call, Gateway, Service, a_budget, priced

USERS: Final = ("an", "binh")
PLACES: Final = (0, 1, 2)
RECALLS: Final = int(RECALL_WAIT_S // BEAT_S)
"""How often a call that is refused may ask again after everybody was heard: in production it waits so many beats."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that somebody wants to make, what it comes to, and for how many further wishes it is under way."""

    place: int
    user: str
    worst: int
    actual: int
    lasts: int


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    worst = draw(st.integers(1, 40))
    return Wish(
        place=draw(st.sampled_from(PLACES)),
        user=draw(st.sampled_from(USERS)),
        worst=worst,
        actual=draw(st.sampled_from([worst, (worst + 1) // 2, 1])),
        lasts=draw(st.integers(0, 6)),
    )


class UnderWay(NamedTuple):
    """A call that was made, and when it ends: after so many further wishes."""

    wish: Wish
    gateway: Gateway
    call: Call
    ends_at: int


class Market:
    """Three gateways and their callers, an org of two users below one team, and nothing that fails."""

    def __init__(self, org: int, team: int, user: int, calls: int) -> None:
        self.service = Service(
            [
                a_budget("acme", "org", org),
                a_budget("acme", "org", calls, "requests"),
                a_budget("acme", "team", team),
                a_budget("an", "user", user),
                a_budget("binh", "user", (user + 1) // 2),
            ],
            live_gateways=len(PLACES),
        )
        self.gateways = [Gateway(f"gw-{place}", self.service) for place in PLACES]
        self.under_way: list[UnderWay] = []
        self.wished = 0
        self.clock = 0.0
        for gateway in self.gateways:
            gateway.boot()

    def wants(self, wish: Wish) -> bool:
        """Whether the call was made. As `gateway.reservation`: from what is in hand, or asked for."""
        gateway = self.gateways[wish.place]
        pool = "USD", tuple(sorted(budget.budget_id for budget in self.service.path(wish.user)))
        for _ in range(1 + RECALLS):
            call = gateway.admit(wish.user, pool, wish.worst, self.clock)
            if call is None and self._ask(gateway, wish, pool):
                call = gateway.admit(wish.user, pool, wish.worst, self.clock)
            if call is not None:
                self.under_way.append(UnderWay(wish, gateway, call, self.wished + wish.lasts))
                return True
            self.beat()
        return False

    def _ask(self, gateway: Gateway, wish: Wish, pool: PoolKey) -> bool:
        """As `gateway.lease_client`: before a refusal stands, what other pools of this gateway hold is given back."""
        need = Amount(wish.worst, 1, TOKENS)
        gateway.leases.close_small(pool, need)
        return self._asked(gateway, wish, pool, need) or (
            gateway.leases.close_others(pool, pool[1]) and self._asked(gateway, wish, pool, need)
        )

    def _asked(self, gateway: Gateway, wish: Wish, pool: PoolKey, need: Amount) -> bool:
        reports = gateway.leases.reports(100, within=pool)
        wires = tuple(report.wire for report in reports)
        want = gateway.leases.want(pool, need, self.clock).money
        lease = self.service.grant(gateway.name, gateway.epoch, new_id(), wish.user, wish.worst, want, wires)
        gateway.leases.acknowledge(reports)
        if lease is not None:
            gateway.take(pool, lease, self.clock)
        return lease is not None

    def beat(self) -> None:
        """A second passes; every gateway is heard, and once more if it was asked for something."""
        self.clock += 1
        for gateway in self.gateways:
            gateway.leases.tick(self.clock)
            while recalled := self._report(gateway):
                gateway.leases.recall(recalled)

    def _report(self, gateway: Gateway) -> set[UUID]:
        reports = gateway.leases.reports(100)
        recalled = self.service.heartbeat(gateway.name, gateway.epoch, [report.wire for report in reports])
        gateway.leases.acknowledge(reports)
        return recalled

    def pass_on(self, *, all_end: bool = False) -> None:
        """Calls that have come to their end are settled and posted."""
        self.wished += 1
        ending = [each for each in self.under_way if all_end or each.ends_at < self.wished]
        self.under_way = [each for each in self.under_way if each not in ending]
        for each in ending:
            self.service.post([priced(each.gateway.complete(each.call, each.wish.actual), BEGINNING)])

    def has_room(self, wish: Wish) -> bool:
        """Whether every budget could bear the call's worst case, beside what is spent and those of calls under way."""
        worst: dict[Measure, int] = {"money": wish.worst, "requests": 1}
        path = self.service.path(wish.user)
        return all(self._left(budget) >= worst[budget.measure] for budget in path)

    def _left(self, budget: Budget) -> int:
        below = [each.wish.worst for each in self.under_way if budget in self.service.path(each.wish.user)]
        room = self.service.windows[budget.window_key(self.service.now)].room
        return room.limit - room.posted - (sum(below) if budget.measure == "money" else len(below))


def spends_what_it_may(org: int, team: int, user: int, calls: int, wished: Sequence[Wish]) -> None:
    """First as they come, then until there is no end of refusals. A refusal is right the first time it is given."""
    market = Market(org, team, user, calls)
    for wish in wished:
        assert market.wants(wish) or not market.has_room(wish)
        market.pass_on()
    market.pass_on(all_end=True)
    for wish in wished:
        while market.wants(wish):
            market.pass_on(all_end=True)
        assert not market.has_room(wish)


AMOUNTS: Final = st.integers(0, 300)
DEMAND: Final = {
    "org": AMOUNTS,
    "team": AMOUNTS,
    "user": AMOUNTS,
    "calls": st.integers(0, 60),
    "wished": st.lists(wishes(), min_size=1, max_size=30),
}


@settings(max_examples=300, deadline=None)
@given(**DEMAND)
def test_while_demand_lasts_less_than_one_worst_case_stays_unspent(**demand: Any) -> None:
    spends_what_it_may(**demand)


def recalls_are_not_delivered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "recall", lambda *_: None)


def idle_rights_are_not_returned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "_return", lambda *_: None)


def other_pools_keep_what_they_have(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "close_others", lambda *_: False)


def every_grant_is_short(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("model.world.grant", lambda rooms, *_, **__: Short(rooms[0].key, Obstacle.HELD))


@pytest.mark.parametrize(
    "mutant",
    [
        recalls_are_not_delivered,
        idle_rights_are_not_returned,
        other_pools_keep_what_they_have,
        every_grant_is_short,
    ],
)
def test_a_protocol_that_strands_rights_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    found = settings(HUNT, max_examples=2_000)
    with pytest.raises(AssertionError):
        found(given(**DEMAND)(spends_what_it_may))()
