"""Tests of the test: protocols that are wrong in one way each, and the state machine finds every one of them.

The first is the check-then-charge rule that other gateways use.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import budget.posting.rules
from budget.shares.rules import Desk, Granted, Room, ShareState, Short, grant
from gateway.admission.estimate import Amount
from gateway.journal.record import Kind
from gateway.journal.replay import Replay
from gateway.shares.leases import Held, Hold, Leases
from model.hunt import HUNT
from model.test_lease_protocol import LeaseProtocol
from model.world import TOKENS, Call, Completed, Gateway, Service

Patch = pytest.MonkeyPatch
MUTANTS: dict[str, Callable[[Patch], None]] = {}


def mutant(change: Callable[[Patch], None]) -> Callable[[Patch], None]:
    MUTANTS[change.__name__] = change
    return change


@mutant
def check_then_charge(patch: Patch) -> None:
    """A grant looks at what is spent, not at what is promised."""
    patch.setattr(Room, "free", property(lambda room: max(0, room.limit - room.posted - room.suspended)))


@mutant
def release_by_time_to_live(patch: Patch) -> None:
    """A lease of another gateway is taken back because it looks old."""
    granting = Service.grant

    def taking_back(service: Service, gateway: str, *arguments: Any) -> Any:
        desk = service._desk()
        for lease_id, (owner, _) in service.owners.items():
            if owner != gateway and not any(share.is_suspended for share in desk.shares_of(lease_id)):
                desk.close(lease_id)
        service._save(desk)
        return granting(service, gateway, *arguments)

    patch.setattr(Service, "grant", taking_back)


@mutant
def a_lost_node_is_believed_to_have_spent_nothing(patch: Patch) -> None:
    patch.setattr(Desk, "suspend", Desk.close)


@mutant
def charge_nothing_without_an_answer(patch: Patch) -> None:
    """Recovery takes a call whose end nobody saw for one that never was."""
    boot = Gateway.boot

    def forgetful(gateway: Gateway) -> list[Completed]:
        replay = Replay()
        replay.segment(0, gateway.disk)
        for attempt in replay.intents:
            gateway.entries[attempt] = gateway.entries[attempt]._replace(amount=Amount())
        return boot(gateway)

    patch.setattr(Gateway, "boot", forgetful)


@mutant
def recovery_forgets_calls_under_way(patch: Patch) -> None:
    """Leases are reported as spent by what had completed only."""
    patch.setattr(Replay, "spend", lambda *_: None)


@mutant
def no_dedupe(patch: Patch) -> None:
    """An entry is posted every time it arrives."""
    post = Service.post

    def again(service: Service, entries: Any) -> None:
        known, service.posted = service.posted, {}
        post(service, entries)
        service.posted = known | service.posted

    patch.setattr(Service, "post", again)


@mutant
def settle_twice(patch: Patch) -> None:
    settle = Leases.settle

    def twice(leases: Leases, hold: Hold, actual: Amount) -> bool:
        fits = settle(leases, hold, actual)
        hold.lease.spent = Amount(*(a + b for a, b in zip(hold.lease.spent, actual, strict=True)))
        return fits

    patch.setattr(Leases, "settle", twice)


@mutant
def settle_without_spending(patch: Patch) -> None:
    """The reserve goes back whole, whatever the call cost."""
    settle = Leases.settle
    patch.setattr(Leases, "settle", lambda leases, hold, _: settle(leases, hold, Amount()))


@mutant
def settle_before_the_journal(patch: Patch) -> None:
    """A segment that begins in between counts the call twice: in its checkpoint, and by its record."""

    def complete(gateway: Gateway, call: Call, cost: int) -> Completed:
        amount = Amount(cost, 1, TOKENS)
        gateway.leases.settle(call.hold, amount)
        gateway._write(Kind.COMPLETED, call, amount)
        return gateway._event(call.attempt)

    patch.setattr(Gateway, "complete", complete)


@mutant
def a_new_epoch_forgets_the_old_leases(patch: Patch) -> None:
    patch.setattr(Desk, "close", lambda *_: None)


@mutant
def forget_the_fence(patch: Patch) -> None:
    """A process goes on under a name that another one has taken over."""
    patch.setattr(Service, "_fence", lambda *_: None)


@mutant
def reports_are_differences(patch: Patch) -> None:
    """What is returned is added up instead of compared."""

    def added(share: ShareState, *, spent: int, returned: int) -> ShareState:
        return replace(share, spent=max(spent, share.spent), returned=min(share.granted, share.returned + returned))

    patch.setattr(ShareState, "reported", added)


@mutant
def return_what_was_spent(patch: Patch) -> None:
    """A gateway gives back its reserves under way and all it spent."""

    def whole(leases: Leases, lease: Held) -> None:
        lease.returned = {share.budget_id: share.granted for share in lease.shares}
        lease.spent = Amount()
        lease.revision += 1

    patch.setattr(Leases, "_return", whole)


@mutant
def release_on_a_cut(patch: Patch) -> None:
    """A lowered limit takes back what is promised."""
    limited = Room.limited
    patch.setattr(
        Room, "limited", lambda room, limit, *, is_hard: limited(replace(room, escrowed=0), limit, is_hard=is_hard)
    )


@mutant
def post_without_the_lease(patch: Patch) -> None:
    """A posting does not release what was held for it."""
    patch.setattr(budget.posting.rules, "release", lambda _before, _after, room: room)


@mutant
def only_the_first_level_holds(patch: Patch) -> None:
    """A lease is taken from the org, and the user's own budget is not asked."""
    real = grant

    def first(rooms: Any, asks: Any, *, live_gateways: int) -> Granted | Short:
        return real(rooms[:2], asks, live_gateways=live_gateways)

    patch.setattr("model.world.grant", first)


@mutant
def yesterdays_lease_is_good_today(patch: Patch) -> None:
    add = Leases.add

    def endless(leases: Leases, key: Any, granted: Any, now: float) -> Held | None:
        return add(leases, key, granted.model_copy(update={"valid_for_ms": None}), now)

    patch.setattr(Leases, "add", endless)


@mutant
def a_repeated_grant_is_granted_twice(patch: Patch) -> None:
    """The answer is lost, the request comes again, and a second amount is promised under a name nobody has."""
    granting = Service.grant

    def doubled(service: Service, gateway: str, epoch: int, lease_id: UUID, *arguments: Any) -> Any:
        answer = granting(service, gateway, epoch, lease_id, *arguments)
        if answer is not None:
            for share in answer.shares:
                key = service.shares[lease_id, share.budget_id].key
                room = service.windows[key].room
                service.windows[key] = service.windows[key].with_room(room.moved(escrowed=min(room.free, 1)))
        return answer

    patch.setattr(Service, "grant", doubled)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_the_state_machine_finds_a_protocol_that_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    found = settings(HUNT, max_examples=20_000, stateful_step_count=40)  # most need a hundred
    with pytest.raises(AssertionError):  # whichever invariant it is that breaks
        run_state_machine_as_test(LeaseProtocol, settings=found)
