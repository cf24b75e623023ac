"""Tests of the test: protocols that are wrong in one way each, all of which the state machine must find.

The first is the check-then-charge rule that other gateways use.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import budget.posting.rules
from budget.shares import operations, raises
from budget.shares.operations import Shares as Operations
from budget.shares.rules import Positions, Room, Share, ShareKey
from gateway.budget_link.questions import Questions
from gateway.journal.journal import Journal
from gateway.journal.replay import Replay
from gateway.policy.policies import Policies
from gateway.shares.amount import NOTHING, Amount
from gateway.shares.shares import Hold, Path, Shares, Window
from gateway.shares.shares import Share as GatewayShare
from model.hunt import HUNT
from model.test_share_protocol import ShareProtocol
from model.world import Call, Gateway, Told
from support.memory_books import MemoryBooks

Patch = pytest.MonkeyPatch


class EveryEpoch:
    """Equal to all of them."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


EVERY_EPOCH = EveryEpoch()
MUTANTS: dict[str, Callable[[Patch], None]] = {}


def mutant(change: Callable[[Patch], None]) -> Callable[[Patch], None]:
    MUTANTS[change.__name__] = change
    return change


# The service's half


@mutant
def check_then_charge(patch: Patch) -> None:
    """A raise looks at what is spent, not at what is given out."""
    patch.setattr(Room, "free", property(lambda room: max(0, room.limit - room.posted - room.suspended)))


@mutant
def what_is_uncertain_is_free(patch: Patch) -> None:
    patch.setattr(Room, "out", property(lambda room: room.posted + room.escrowed + room.suspended))


@mutant
def a_raise_is_a_difference(patch: Patch) -> None:
    """A raise that comes twice raises twice."""
    real = raises._verdict

    def added(demand: Any, positions: Positions, *arguments: Any) -> Any:
        key = next(iter(demand.wanted), None)
        if key is not None:
            have = positions.share(ShareKey(key[0], key[1], arguments[-1].gateway_id, arguments[-1].epoch)).granted
            totals = demand.wanted[key]
            more = replace(totals, least=totals.least + have, need=totals.need + have, want=totals.want + have)
            demand = replace(demand, wanted={**demand.wanted, key: more})
        return real(demand, positions, *arguments)

    patch.setattr(raises, "_verdict", added)


@mutant
def overdrawn_is_not_heard(patch: Patch) -> None:
    """What was billed above a reserve counts only once the ledger posts it."""
    reported = Share.reported
    patch.setattr(Share, "reported", lambda share, **totals: reported(share, **(totals | {"overdrawn": 0})))


@mutant
def the_last_total_counts_and_not_the_largest(patch: Patch) -> None:
    patch.setattr(
        Share,
        "reported",
        lambda share, **totals: replace(share, returned=totals["returned"], overdrawn=totals["overdrawn"]),
    )


@mutant
def reports_are_differences(patch: Patch) -> None:
    """What is returned is added up instead of compared."""
    patch.setattr(
        Share,
        "reported",
        lambda share, **totals: replace(
            share, returned=share.returned + totals["returned"], overdrawn=totals["overdrawn"]
        ),
    )


@mutant
def release_by_time_to_live(patch: Patch) -> None:
    """Shares of other gateways are taken back because they look old."""
    answers = raises.Raises._answers

    async def taking_back(self: Any, unit: Any, request: Any) -> Any:
        tables = unit.books._tables
        for share in list(tables.shares.values()):
            if share.key.gateway_id != request.gateway_id and share.held and not share.is_suspended:
                window = tables.windows[share.key.window]
                tables.windows[share.key.window] = window.with_room(window.room.moved(escrowed=-share.held))
                tables.shares[share.key] = share.released()
        return await answers(self, unit, request)

    patch.setattr(raises.Raises, "_answers", taking_back)


@mutant
def a_lost_node_is_believed_to_have_spent_nothing(patch: Patch) -> None:
    def released(positions: Positions, keys: Any) -> None:
        for key in list(keys):
            positions.become(positions.share(key).released())

    patch.setattr(Positions, "suspend", released)


@mutant
def a_new_epoch_forgets_the_old_shares(patch: Patch) -> None:
    async def nothing(*_: Any, **__: Any) -> None:
        """Nobody accounts for them."""

    patch.setattr(Operations, "_end_the_rest", nothing)


@mutant
def every_story_is_whole(patch: Patch) -> None:
    """The epoch still matches, so what a journal does not tell of was never used."""
    start = MemoryBooks.start_gateway

    async def believed(self: MemoryBooks, gateway_id: str, process_id: Any, **words: Any) -> tuple[int, bool]:
        epoch, _ = await start(self, gateway_id, process_id, **words)
        return epoch, True

    patch.setattr(MemoryBooks, "start_gateway", believed)


@mutant
def the_newest_record_is_not_asked_for(patch: Patch) -> None:
    """An older disk tells less than the service knows, and is believed."""
    start = MemoryBooks.start_gateway

    async def careless(self: MemoryBooks, gateway_id: str, process_id: Any, **words: Any) -> tuple[int, bool]:
        return await start(self, gateway_id, process_id, **(words | {"last_record": 1 << 40}))

    patch.setattr(MemoryBooks, "start_gateway", careless)


@mutant
def forget_the_fence(patch: Patch) -> None:
    """A process goes on under a name that another one has taken over, and its totals count for the other."""
    patch.setattr(operations, "_fence", lambda *_: None)
    seen = MemoryBooks.seen

    async def lenient(self: MemoryBooks, gateway_id: str, epoch: int, **words: Any) -> datetime:
        await seen(self, gateway_id, epoch, **words)
        return self._tables.now()

    async def claimed(self: MemoryBooks, gateway_id: str) -> Any:
        return EVERY_EPOCH

    patch.setattr(MemoryBooks, "seen", lenient)
    patch.setattr(MemoryBooks, "epoch", claimed)


@mutant
def a_gateway_is_released_on_an_operators_word(patch: Patch) -> None:
    """Without waiting for its silence."""
    init = Operations.__init__

    def hasty(self: Operations, *arguments: Any, release_after_s: float) -> None:
        init(self, *arguments, release_after_s=-1)

    patch.setattr(Operations, "__init__", hasty)


@mutant
def no_dedupe(patch: Patch) -> None:
    """An entry is posted every time it arrives."""

    async def none_of_them(self: MemoryBooks, entry_ids: Any) -> set[Any]:
        self._tables.posted |= set(entry_ids)
        return set()

    patch.setattr(MemoryBooks, "seen_before", none_of_them)


@mutant
def post_without_the_share(patch: Patch) -> None:
    """A posting does not release what was held for it."""
    patch.setattr(budget.posting.rules, "release", lambda _before, _after, room: room)


@mutant
def post_what_was_served(patch: Patch) -> None:
    """A narrowed budget is posted by the model that served the call, and not where the call was held."""
    patch.setattr(budget.posting.rules, "_held", lambda *_: ({}, None))


@mutant
def release_on_a_cut(patch: Patch) -> None:
    """A lowered limit takes back what is given out."""
    limited = Room.limited
    patch.setattr(
        Room, "limited", lambda room, limit, *, is_hard: limited(replace(room, escrowed=0), limit, is_hard=is_hard)
    )


# The gateway's half


@mutant
def only_the_first_level_holds(patch: Patch) -> None:
    """The org's share is drawn on, and the user's own is not asked."""
    reserve = Shares.reserve
    patch.setattr(Shares, "reserve", lambda shares, path, amount, now: reserve(shares, path[:2], amount, now))


@mutant
def a_share_that_is_missing_is_no_obstacle(patch: Patch) -> None:
    reserve = Shares.reserve

    def lenient(shares: Shares, path: Path, amount: Amount, now: float) -> Hold | None:
        return reserve(shares, [window for window in path if window.key in shares._shares], amount, now)

    patch.setattr(Shares, "reserve", lenient)


@mutant
def yesterdays_share_is_good_today(patch: Patch) -> None:
    """And so is the window that a policy of yesterday named."""
    patch.setattr(GatewayShare, "is_over", lambda *_: False)
    patch.setattr(Policies, "fresh", lambda policies, key_hash, _: policies._known.get(key_hash))


@mutant
def settle_without_spending(patch: Patch) -> None:
    """The reserve goes back whole, whatever the call cost."""
    settle = Shares.settle
    patch.setattr(Shares, "settle", lambda shares, hold, _: settle(shares, hold, NOTHING))


@mutant
def settle_twice(patch: Patch) -> None:
    settle = Shares.settle

    def twice(shares: Shares, hold: Hold, spent: Amount) -> bool:
        fits = settle(shares, hold, spent)
        for share in hold.shares:
            share.spent += spent[share.measure]
        return fits

    patch.setattr(Shares, "settle", twice)


@mutant
def a_bill_above_its_reserve_is_not_overdrawn(patch: Patch) -> None:
    def plainly(share: GatewayShare, reserve: int, spent: int) -> None:
        share.reserved -= reserve
        share.spent += min(reserve, spent)
        share.calls -= 1

    patch.setattr(GatewayShare, "settle", plainly)


@mutant
def the_estimate_is_believed(patch: Patch) -> None:
    """What a provider did not report goes back to the share."""
    settle = Gateway.settle

    def certain(gateway: Gateway, call: Call, charge: int, uncertain: int) -> Told:
        return settle(gateway, call, charge, 0)

    patch.setattr(Gateway, "settle", certain)


@mutant
def return_what_is_reserved(patch: Patch) -> None:
    """A gateway gives back its reserves under way."""

    def whole(share: GatewayShare) -> None:
        share.returned = max(share.returned, share.granted + share.overdrawn - share.spent)

    patch.setattr(GatewayShare, "give_back", whole)


@mutant
def recovery_forgets_calls_under_way(patch: Patch) -> None:
    """What is stated as spent is what had completed only."""
    patch.setattr(Journal, "_complete", lambda _journal, _replay, id_, intent: (id_, intent))


@mutant
def recovery_forgets_what_completed(patch: Patch) -> None:
    patch.setattr(Replay, "settle", lambda *_: None)


@mutant
def settle_before_the_journal(patch: Patch) -> None:
    """A segment that begins in between counts the call twice: in its checkpoint, and by its record."""
    settle = Gateway.settle

    def early(gateway: Gateway, call: Call, charge: int, uncertain: int) -> Told:
        gateway.shares.settle(call.hold, Amount(charge + uncertain, 1, 10))
        return settle(gateway, call, charge, uncertain)

    patch.setattr(Gateway, "settle", early)


@mutant
def another_boot_is_no_reason_for_doubt(patch: Patch) -> None:
    patch.setattr(Journal, "_is_whole", lambda *_: True)


@mutant
def a_lost_answer_is_not_asked_for_again(patch: Patch) -> None:
    patch.setattr(Questions, "unheard", lambda *_: [])


@mutant
def the_totals_of_beats_are_not_taken(patch: Patch) -> None:
    """A raise whose answer was lost is neither spent nor returned."""
    patch.setattr(Shares, "total", lambda *_: None)
    wanted = Shares.wanted

    def anew(shares: Shares, window: Window, **words: Any) -> tuple[int, int, int]:
        share = shares._shares.get(window.key)
        least, need, want = wanted(shares, window, **words)
        return (least, need, want) if share is None else (least + 1, need + 1, want + 1)

    patch.setattr(Shares, "wanted", anew)


STORIES = settings(HUNT, max_examples=300, stateful_step_count=40)
"""The same for all of them: most wrong protocols are found in the first twenty."""


BY_LUCK: Final = {"settle_before_the_journal"}
"""Not found in these stories: what a disk forgets may count twice in the right protocol too, and hides it."""


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - BY_LUCK))
def test_the_state_machine_finds_a_protocol_that_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    with pytest.raises(AssertionError):  # whichever invariant it is that breaks
        run_state_machine_as_test(ShareProtocol, settings=STORIES)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_right_protocol_passes_the_same_stories() -> None:
    run_state_machine_as_test(ShareProtocol, settings=STORIES)
