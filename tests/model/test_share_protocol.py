"""The guarantee of hard budgets, as stated: what providers bill for requests admitted in a window is within its limit.

For three gateways and any crash, power cut, lost or old disk, twin, restart, lost, doubled, late or reordered message,
replay, raise, cut and change of day; for bills above their reserve, too, but for their excess.
"""

import shutil
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from budget.errors import StillAlive
from farebox.errors import NotFound
from model.story import GATEWAYS, TWINS_MAX, USERS, How, Story, Wish
from model.world import MODELS, Gateway, minutes, run

PLACES = st.sampled_from(GATEWAYS)
HOW: st.SearchStrategy[How] = st.sampled_from(["at once", "at once", "at once", "answer lost", "late"])


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    reserve = draw(st.integers(1, 40))
    bills = st.sampled_from([reserve, reserve, reserve // 2, 0, reserve + 1, reserve + 25])
    user, model = draw(st.sampled_from(USERS)), draw(st.sampled_from(MODELS))
    return Wish(user, model, reserve, draw(bills), is_reported=draw(st.sampled_from([True, True, False])))


LOAD = st.lists(wishes(), max_size=4)
"""What comes to a gateway right before something happens to it."""


class ShareProtocol(RuleBasedStateMachine):
    """Plausible stretches of a company's life, and at the end somebody who spends all that is left."""

    story: Story | None = None

    @initialize(org=st.integers(20, 300), user=st.integers(20, 300), calls=st.sampled_from([4, 12, 60, 1_000]))
    def begin(self, org: int, user: int, calls: int) -> None:
        self.story = Story(org, user, calls)

    @property
    def told(self) -> Story:
        assert self.story is not None
        return self.story

    # Calls

    @rule(place=st.integers(0, 4), times=st.sampled_from([1, 3]), wish=wishes(), how=HOW)
    def calls_come(self, place: int, times: int, wish: Wish, how: How) -> None:
        """To gateways in turn."""
        processes = self.told.processes()
        for turn in range(times):
            self.told.call(processes[(place + turn) % len(processes)], wish, "at once" if turn else how)

    @rule(place=st.integers(0, 4), load=st.lists(wishes(), min_size=2, max_size=6))
    def a_gateway_is_busy(self, place: int, load: list[Wish]) -> None:
        processes = self.told.processes()
        self.busy(processes[place % len(processes)], load)

    def busy(self, gateway: Gateway, load: list[Wish]) -> None:
        """Every other call has ended by the time of the last."""
        made = [(call, wish) for wish in load if (call := self.told.call(gateway, wish))]
        for call, wish in made[::2]:
            self.told.end(call, is_reported=wish.is_reported)

    @precondition(lambda self: any(gateway.calls for gateway in self.told.processes()))
    @rule(data=st.data(), is_reported=st.booleans())
    def a_call_ends(self, data: Any, is_reported: bool) -> None:
        gateway = data.draw(st.sampled_from([each for each in self.told.processes() if each.calls]))
        call = data.draw(st.sampled_from(gateway.calls))
        self.told.end(call, is_reported=is_reported)

    @rule(place=PLACES)
    def everything_lies_idle_and_is_given_back(self, place: int) -> None:
        self.told.gateways[place].shares.close_all()

    @rule(place=PLACES)
    def somebody_spends_what_is_left(self, place: int) -> None:
        self.told.somebody_spends_what_is_left(place)

    # Messages

    @rule(place=st.integers(0, 4), how=HOW)
    def beat(self, place: int, how: How) -> None:
        processes = self.told.processes()
        self.told.beat(processes[place % len(processes)], how)

    @rule(place=PLACES, load=LOAD, wish=wishes())
    def an_answer_is_lost(self, place: int, load: list[Wish], wish: Wish) -> None:
        """The beat after it says what it gave."""
        gateway = self.told.gateways[place]
        self.busy(gateway, load)
        self.told.call(gateway, wish, "answer lost")
        self.told.beat(gateway)

    @rule(place=PLACES, load=LOAD)
    def a_beat_is_overtaken(self, place: int, load: list[Wish]) -> None:
        """By one that tells of more."""
        gateway = self.told.gateways[place]
        late = gateway.beat()
        self.busy(gateway, load)
        gateway.shares.close_all()
        self.told.beat(gateway)
        self.told.deliver(late, is_answered=False)

    @precondition(lambda self: self.told.net)
    @rule(data=st.data(), again=st.booleans(), is_answered=st.booleans())
    def an_old_message_arrives(self, data: Any, again: bool, is_answered: bool) -> None:
        sent = data.draw(st.sampled_from(self.told.net))
        if not again:
            self.told.net.remove(sent)
        if sent.question is not None:
            self.told.onlooker.hears(sent.gateway, sent.question)  # of what it grants now, its process hears in turn
        self.told.deliver(sent, is_answered=is_answered and sent.gateway in self.told.processes())

    @precondition(lambda self: self.told.outbound)
    @rule(data=st.data(), is_noted=st.booleans())
    def kafka_takes_events(self, data: Any, is_noted: bool) -> None:
        outbound = self.told.outbound
        for call, told in data.draw(st.lists(st.sampled_from(outbound), min_size=1, max_size=3, unique=True)):
            self.told.bus.append(told)
            if is_noted:
                outbound.remove((call, told))
                if call is not None and call.gateway in self.told.processes():
                    call.gateway.published(call)

    @precondition(lambda self: self.told.bus)
    @rule(data=st.data())
    def metering_and_budget_take_events_late_twice_and_in_any_order(self, data: Any) -> None:
        self.told.post(data.draw(st.lists(st.sampled_from(self.told.bus), min_size=1, max_size=4)))

    @precondition(lambda self: self.told.unsure)
    @rule(data=st.data())
    def the_true_usage_is_entered(self, data: Any) -> None:
        self.told.correct(data.draw(st.sampled_from(list(self.told.unsure))))

    # Accidents

    @rule(place=PLACES, load=LOAD)
    def kill(self, place: int, load: list[Wish]) -> None:
        """The journal is whole."""
        self.busy(self.told.gateways[place], load)
        self.told.stop(place)
        self.told.start(place)

    @rule(place=PLACES, load=LOAD, lines=st.integers(0, 9))
    def cut_the_power(self, place: int, load: list[Wish], lines: int) -> None:
        """The disk comes back without the last that was written, and the machine boots."""
        gateway = self.told.gateways[place]
        self.busy(gateway, load)
        self.told.onlooker.forgets_ends(gateway)
        self.told.stop(place)
        gateway.lose_the_last(lines)
        self.told.is_told_twice = True
        gateway.boot_id += "'"
        self.told.start(place)

    @rule(place=PLACES, load=LOAD)
    def lose_the_disk(self, place: int, load: list[Wish]) -> None:
        self.busy(self.told.gateways[place], load)
        self.told.stop(place)
        shutil.rmtree(self.told.gateways[place].folder)
        self.told.start(place)

    @rule(place=PLACES, load=LOAD)
    def copy_the_disk(self, place: int, load: list[Wish]) -> None:
        """What the service was told by then, it was told."""
        gateway = self.told.gateways[place]
        self.told.beat(gateway)
        copy = gateway.copy_of_the_disk(self.told.folder / f"copy-{place}")
        self.told.copies[place] = copy, gateway.journal.last_record
        self.busy(gateway, load)

    @precondition(lambda self: self.told.copies)
    @rule(data=st.data())
    def bring_the_old_disk_back(self, data: Any) -> None:
        self.told.bring_the_old_disk_back(data.draw(st.sampled_from(sorted(self.told.copies))))

    @precondition(lambda self: len(self.told.twins) < TWINS_MAX)
    @rule(place=PLACES, load=LOAD)
    def start_a_twin(self, place: int, load: list[Wish]) -> None:
        self.busy(self.told.gateways[place], load)
        self.told.start_a_twin(place)

    @rule(place=PLACES)
    def stop_in_order(self, place: int) -> None:
        gateway = self.told.gateways[place]
        self.told.end_all(gateway)
        gateway.shares.close_all()
        self.told.beat(gateway)
        gateway.journal.close()
        gateway.boot_id += "'"
        self.told.start(place)

    @rule(place=PLACES, load=LOAD, is_released=st.booleans())
    def a_gateway_is_cut_off(self, place: int, load: list[Wish], is_released: bool) -> None:
        """For so long that it is taken for lost; perhaps somebody vouches that all it spent is posted. Then it is heard
        again."""
        gateway = self.told.gateways[place]
        self.busy(gateway, load)
        if is_released:
            self.told.end_all(gateway)
            self.told.post_all()
        self.told.cut_off(place)
        if is_released and self.is_released(gateway):
            assert gateway.standing.is_silent(self.told.books.clock.monotonic()), "released, and may still admit"
        self.told.beat(gateway)
        self.busy(gateway, load)
        if gateway.standing.is_fenced:
            self.told.stop(place)
            self.told.start(place)

    @rule()
    def nobody_releases_a_process_that_may_admit(self) -> None:
        for gateway in self.told.processes():
            if not gateway.standing.is_silent(self.told.books.clock.monotonic()):
                assert not self.is_released(gateway), "released while it may still admit"

    def is_released(self, gateway: Gateway) -> bool:
        """An operator tries."""
        try:
            run(self.told.books.operations.release(gateway.name, gateway.standing.epoch.epoch, "it is dead, I think"))
        except (StillAlive, NotFound):
            return False
        return True

    # The world

    @rule(place=st.integers(0, 4), limit=st.integers(0, 300))
    def set_a_limit(self, place: int, limit: int) -> None:
        self.told.books.set_limit(self.told.budget_ids[place], limit)

    @rule(hours=st.sampled_from([1, 7]))
    def time_passes(self, hours: int) -> None:
        self.told.pass_time(hours * 3600)

    @rule(place=PLACES, load=LOAD)
    def a_day_ends(self, place: int, load: list[Wish]) -> None:
        """Under load: calls come seconds before and after."""
        now = self.told.books.clock.now()
        midnight = now.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        self.told.pass_time((midnight - now).total_seconds() - 5)
        self.busy(self.told.gateways[place], load)
        self.told.books.clock.move(minutes(10 / 60))
        self.busy(self.told.gateways[place], load)

    # What holds

    @invariant()
    def what_holds_after_every_step(self) -> None:
        if self.story is not None:
            self.story.onlooker.judge()

    def teardown(self) -> None:
        if self.story is not None:
            try:
                self.story.ends()
            finally:
                self.story.close()


ShareProtocol.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestShareProtocol = ShareProtocol.TestCase
