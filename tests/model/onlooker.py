"""Who watches a story from outside: what was billed, what was asked for, and what must hold whatever happens."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from budget.shares.rules import Share, ShareKey, WindowKey
from farebox.shares import Beat, RaiseRequest
from gateway.budget_link.questions import Question
from gateway.shares.shares import FORGET_S
from gateway.shares.shares import Share as GatewayShare
from gateway.shares.shares import WindowKey as GatewayWindow
from model.world import Books, Call, Gateway

MEASURES: Final = {"money": 0, "requests": 1}


@dataclass
class Onlooker:
    """Knows every call's true bill from the instant it is admitted, whatever becomes of its process."""

    books: Books
    calls: dict[UUID, Call] = field(default_factory=dict)
    billed: Counter[WindowKey] = field(default_factory=Counter)
    excess: Counter[WindowKey] = field(default_factory=Counter)
    """What was billed above reserves."""
    forgotten: Counter[WindowKey] = field(default_factory=Counter)
    """What calls held whose end a disk forgot: they may count for all of it once more, and hold back that much."""
    asked: defaultdict[ShareKey, int] = field(default_factory=lambda: defaultdict(int))
    """The largest total of `granted` that a process ever asked for."""
    shares: dict[ShareKey, Share] = field(default_factory=dict)
    """The service's, as they were after the last step."""
    lost: dict[tuple[Gateway, str], Question] = field(default_factory=dict)
    """By process and key, the newest question whose answer was lost."""

    # What it sees

    def admitted(self, call: Call) -> None:
        """Billed from here on; and held in every hard budget that it meets."""
        now = self.books.clock.now()
        held = {(share.key.budget_id, share.key.start) for share in call.hold.shares}
        assert held == {budget.window_key(now) for budget in self.books.path(call.user, call.model)}, "not held"
        self.calls[call.attempt] = call
        for share in call.hold.shares:
            key = (share.key.budget_id, share.key.start)
            self.billed[key] += call.bill if share.measure == MEASURES["money"] else 1
            self.excess[key] += call.excess if share.measure == MEASURES["money"] else 0

    def asks(self, request: RaiseRequest) -> None:
        """Note how much there may be granted for this."""
        for ask in request.asks:
            wanted = {(each.budget_id, each.window_start): each.want for each in ask.windows}
            if ask.opening is not None:
                amounts = {"money": ask.opening.need.cost_nano_usd, "requests": ask.opening.need.requests}
                for budget in self.books.store.tables.budgets.values():
                    wanted[budget.window_key(self.books.clock.now())] = amounts[budget.measure]
            for (budget_id, start), total in wanted.items():
                key = ShareKey(budget_id, start, request.gateway_id, request.epoch)
                self.asked[key] = max(self.asked[key], total)

    def is_answered(self, request: RaiseRequest | Beat) -> None:
        newest = self.books.store.tables.gateways[request.gateway_id].epoch
        assert request.epoch == newest, "a process was answered that another has replaced"

    def forgets_ends(self, gateway: Gateway) -> None:
        """Its disk comes back without the newest records."""
        for call in self.calls.values():
            if call.gateway is gateway and call not in gateway.calls:
                for share in call.hold.shares:
                    if share.measure == MEASURES["money"]:
                        self.forgotten[share.key.budget_id, share.key.start] += call.reserve

    def loses(self, gateway: Gateway, question: Question) -> None:
        self.lost[gateway, question.key_hash] = question

    def hears(self, gateway: Gateway, question: Question) -> None:
        self.lost.pop((gateway, question.key_hash), None)

    def unheard(self, gateway: Gateway) -> list[Question]:
        return [question for (who, _), question in self.lost.items() if who is gateway]

    # What it says

    def judge(self) -> None:
        """After every step."""
        self.limits_hold()
        self.windows_fit()
        self.windows_hold_what_their_shares_hold()
        self.counters_only_grow()

    def limits_hold(self) -> None:
        """Of every budget that held a call, but for what was billed above a reserve."""
        for key, amount in self.billed.items():
            assert amount <= self.books.limit_of(key) + self.excess[key], f"billed {amount} in {key}"

    def windows_fit(self) -> None:
        """No window gives out more than its limit unless it says so."""
        for key, window in self.books.store.tables.windows.items():
            room = window.room
            assert min(room.escrowed, room.suspended, room.uncertain) >= 0
            assert room.out <= room.limit or room.is_over, f"{room} is over its limit, and does not say so"
            beyond = 2 * self.excess[key]  # as told, and as entered by somebody later
            most = self.books.limit_of(key) + beyond + self.forgotten[key]
            assert room.out <= most, f"{room} has given out more than {most}"

    def windows_hold_what_their_shares_hold(self) -> None:
        tables = self.books.store.tables
        escrowed: Counter[WindowKey] = Counter()
        suspended: Counter[WindowKey] = Counter()
        uncertain: Counter[WindowKey] = Counter()
        for share in tables.shares.values():
            (suspended if share.is_suspended else escrowed)[share.key.window] += share.held
        for (_, window_key), amount in tables.uncertain.items():
            uncertain[window_key] += amount
        for key, window in tables.windows.items():
            assert window.room.escrowed == escrowed[key]
            assert window.room.suspended == suspended[key]
            assert window.room.uncertain == uncertain[key]

    def counters_only_grow(self) -> None:
        """And nobody is granted what he did not ask for, however often his message came."""
        now = self.books.store.tables.shares
        for key, share in now.items():
            before = self.shares.get(key)
            if before is share:
                continue
            before = before or Share(key)
            assert share.granted >= before.granted, "granted shrank"
            assert share.returned >= before.returned, "returned shrank"
            assert share.overdrawn >= before.overdrawn, "overdrawn shrank"
            assert share.posted >= before.posted, "posted shrank"
            assert share.granted <= self.asked[key], "more was granted than was asked for"
        self.shares = dict(now)

    def knows_what_it_was_granted(self, gateway: Gateway, unheard: Iterable[Question]) -> None:
        """One beat after an answer was lost, its process knows what it gave, where the windows are still the present
        ones."""
        for question in unheard:
            for key in self._present(question):
                theirs, ours = self._theirs(gateway, key), gateway_share(gateway, key)
                assert theirs.granted == (ours.granted if ours else 0), "a grant that nobody knows of"

    def unheard_excess(self, heard: Collection[Gateway]) -> Counter[WindowKey]:
        """What was billed above reserves and no gateway that was heard has settled."""
        found: Counter[WindowKey] = Counter()
        for call in self.calls.values():
            if call.excess and (call.gateway not in heard or call in call.gateway.calls):
                for share in call.hold.shares:
                    if share.measure == MEASURES["money"]:
                        found[share.key.budget_id, share.key.start] += call.excess
        return found

    def halves_agree(self, gateways: Iterable[Gateway]) -> None:
        """Once all is told and posted. A share that its gateway may have forgotten holds nothing."""
        for gateway in gateways:
            epoch = gateway.name, gateway.standing.epoch.epoch
            for share in [each for each in self.shares.values() if each.key[2:] == epoch]:
                ours = gateway_share(gateway, share.key.window)
                if ours is None or self._may_be_forgotten(share.key):
                    assert share.held == 0, "stranded"
                else:
                    theirs = share.granted, share.returned, share.overdrawn, share.posted
                    mine = ours.granted, ours.returned, ours.overdrawn, ours.spent
                    assert theirs == mine, "the halves differ"

    def nothing_is_left(self, *, is_told_twice: bool) -> None:
        """Nothing is held but what went down with a node, and nothing is uncertain.

        Where a disk forgot, an attempt may have been told of twice: in a whole story with its bill, and in the event
        that was posted with its reserve, which is all that the disk still knew."""
        for share in self.shares.values():
            lost = self.excess[share.key.window] if is_told_twice and share.is_final else 0
            assert share.held <= lost or share.is_suspended, "stranded"
        for window in self.books.store.tables.windows.values():
            assert window.room.uncertain == 0, "uncertain for ever"

    def _may_be_forgotten(self, key: ShareKey) -> bool:
        end = self.books.store.tables.windows[key.window].end
        return end is not None and end <= self.books.clock.now() - timedelta(seconds=FORGET_S)

    def _present(self, question: Question) -> list[WindowKey]:
        """The windows that a question is about, but for those that are over."""
        now = self.books.clock.now()
        if question.opening is not None:
            user = self.books.store.tables.keys[question.key_hash].removeprefix("key-")
            return [budget.window_key(now) for budget in self.books.path(user, question.opening.attributes.model)]
        budgets = self.books.store.tables.budgets
        named = [(each.window.key.budget_id, each.window.key.start) for each in question.raises]
        return [key for key in named if key == budgets[key[0]].window_key(now)]

    def _theirs(self, gateway: Gateway, key: WindowKey) -> Share:
        share_key = ShareKey(*key, gateway.name, gateway.standing.epoch.epoch)
        return self.books.store.tables.shares.get(share_key) or Share(share_key)


def gateway_share(gateway: Gateway, key: WindowKey) -> GatewayShare | None:
    return gateway.shares._shares.get(GatewayWindow(*key))
