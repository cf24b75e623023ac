"""A protocol that gives nothing keeps every limit. This one spends it.

While demand lasts and everything is healthy, what stays unspent of the tightest budget on a path is less than one
call's worst case, wherever its rights had lain before; and no call is refused that would have fitted.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget.budgets.rules import Budget
from budget.shares import raises
from budget.shares.rules import Obstacle, Short
from farebox.events import Measure
from farebox.shares import Beat, RaiseRequest
from gateway.admission.reservations import RECALL_WAIT_S
from gateway.budget_link.heartbeat import BEAT_S
from gateway.budget_link.questions import Question
from gateway.shares.shares import Share, Shares
from model.hunt import HUNT
from model.world import MODELS, ORG, Books, Call, Gateway, a_budget, minutes, priced, run

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
    call: Call
    ends_at: int


class Market:
    """Three gateways and their callers, an org of two users, and nothing that fails."""

    def __init__(self, folder: Path, org: int, team: int, user: int, calls: int) -> None:
        self.books = Books(
            [
                a_budget(ORG, "org", org),
                a_budget(ORG, "org", calls, "requests"),
                a_budget(ORG, "team", team),
                a_budget("an", "user", user),
                a_budget("binh", "user", (user + 1) // 2),
            ],
            USERS,
        )
        self.gateways = [Gateway(f"gw-{place}", self.books, folder / f"gw-{place}") for place in PLACES]
        self.under_way: list[UnderWay] = []
        self.wished = 0
        for gateway in self.gateways:
            gateway.boot()

    def wants(self, wish: Wish) -> bool:
        """Whether the call was made, as `Reservations` has it: from what is in hand, or asked for."""
        gateway = self.gateways[wish.place]
        for _ in range(1 + RECALLS):
            if call := self._call(gateway, wish):
                self.under_way.append(UnderWay(wish, call, self.wished + wish.lasts))
                return True
            self.beat()
        return False

    def _call(self, gateway: Gateway, wish: Wish) -> Call | None:
        """Asks until it is refused: for the policy, for windows that are short, for windows of a new day."""
        while True:
            verdict = gateway.admit(wish.user, MODELS[0], wish.worst, wish.actual)
            if isinstance(verdict, Call):
                return verdict
            if not self._ask(gateway, verdict):
                return None

    def _ask(self, gateway: Gateway, question: Question) -> bool:
        sent = gateway.ask(question)
        assert isinstance(sent.request, RaiseRequest)
        answer = run(self.books.raises.answer(sent.request)).answers[0]
        gateway.shares.acknowledge(sent.reports)
        asked: Any = SimpleNamespace(question=question, asked_at=self.books.clock.monotonic())
        gateway.questions._learn(asked, answer)
        return answer.refusal is None

    def beat(self) -> None:
        """A second passes; every gateway is heard, and once more if it was asked for something."""
        self.books.clock.move(minutes(1 / 60))
        for gateway in self.gateways:
            while self._heard(gateway):
                gateway.heartbeat._beat_now.clear()

    def _heard(self, gateway: Gateway) -> bool:
        sent = gateway.beat()
        assert isinstance(sent.request, Beat)
        gateway.standing.answered(self.books.clock.monotonic())
        gateway.heartbeat._heard(sent.reports, run(self.books.operations.beat(sent.request)))
        return gateway.heartbeat._beat_now.is_set()

    def pass_on(self, *, all_end: bool = False) -> None:
        """Calls that have come to their end are settled and posted."""
        self.wished += 1
        ending = [each for each in self.under_way if all_end or each.ends_at < self.wished]
        self.under_way = [each for each in self.under_way if each not in ending]
        for each in ending:
            self.books.post([priced(each.call.gateway.settle(each.call, each.wish.actual, 0))])

    def has_room(self, wish: Wish) -> bool:
        """Whether every budget could bear the call's worst case, beside what is spent and those of calls under way."""
        worst: dict[Measure, int] = {"money": wish.worst, "requests": 1}
        path = self.books.path(wish.user, MODELS[0])
        return all(self._left(budget) >= worst[budget.measure] for budget in path)

    def _left(self, budget: Budget) -> int:
        below = [each.wish.worst for each in self.under_way if budget in self.books.path(each.wish.user, MODELS[0])]
        window = self.books.store.tables.windows.get(budget.window_key(self.books.clock.now()))
        posted = window.room.posted if window else 0
        return budget.limit - posted - (sum(below) if budget.measure == "money" else len(below))


def spends_what_it_may(org: int, team: int, user: int, calls: int, wished: Sequence[Wish]) -> None:
    """First as they come, then until there is no end of refusals. A refusal is right the first time it is given."""
    folder = Path(tempfile.mkdtemp(prefix="farebox-model-"))
    market = Market(folder, org, team, user, calls)
    try:
        for wish in wished:
            assert market.wants(wish) or not market.has_room(wish)
            market.pass_on()
        market.pass_on(all_end=True)
        for wish in wished:
            while market.wants(wish):
                market.pass_on(all_end=True)
            assert not market.has_room(wish)
    finally:
        for gateway in market.gateways:
            gateway.journal.close()
        shutil.rmtree(folder)


AMOUNTS: Final = st.integers(0, 300)
DEMAND: Final = {
    "org": AMOUNTS,
    "team": AMOUNTS,
    "user": AMOUNTS,
    "calls": st.integers(0, 60),
    "wished": st.lists(wishes(), min_size=1, max_size=30),
}


@settings(max_examples=100, deadline=None)
@given(**DEMAND)
def test_while_demand_lasts_less_than_one_worst_case_stays_unspent(**demand: Any) -> None:
    spends_what_it_may(**demand)


def recalls_are_not_delivered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Shares, "recall", lambda *_: None)


def idle_rights_are_not_returned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Share, "give_back", lambda *_: None)


def every_raise_is_short(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(raises, "raise_all", lambda rooms, *_: Short(rooms[0].key, Obstacle.HELD))


@pytest.mark.parametrize(
    "mutant",
    [recalls_are_not_delivered, idle_rights_are_not_returned, every_raise_is_short],
)
def test_a_protocol_that_strands_rights_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    found = settings(HUNT, max_examples=2_000)
    with pytest.raises(AssertionError):
        found(given(**DEMAND)(spends_what_it_may))()
