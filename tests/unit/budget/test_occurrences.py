"""What a course of spending crosses and resolves, in order; and which of it people hear."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from budget.alerts.occurrences import Crossed, Crossing, Noted, Notes, Occurrence, Register, Resolved, Standing, turns
from budget.alerts.rules import EXHAUSTED, OVER_LIMIT, Mark, id_of, reached, thresholds
from farebox.events import ThresholdMark

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BUDGET = UUID(int=1)
WINDOW = (BUDGET, NOON)
MARKS = thresholds([ThresholdMark(severity="warning", percent=Decimal(percent)) for percent in (50, 75)], 100)
REAL, PROVISIONAL = (Occurrence(1, 1, provisional, notify_people=False) for provisional in (False, True))


def at(posted: int, suspended: int = 0) -> Standing:
    """Of a limit of 100, with marks at 50 and 75 percent."""

    def marks(spent: int) -> tuple[Mark, ...]:
        return (*reached(MARKS, spent), *([EXHAUSTED] if spent >= 100 else []), *([OVER_LIMIT] if spent > 100 else []))

    return Standing(posted + suspended, marks(posted + suspended), marks(posted))


def story(*course: Standing, notes: Notes | None = None) -> list[str]:
    """`+75` crosses a mark, `?75` does so with suspense only, `-75` resolves it."""
    signs = {True: "?", False: "+"}
    return [
        f"-{_short(turn.mark_id)}"
        if isinstance(turn, Resolved)
        else f"{signs[turn.provisional]}{_short(id_of(turn.mark))}"
        for turn in turns(notes or {}, 1, course)
    ]


def _short(mark_id: str) -> str:
    return mark_id.removeprefix("percent:")


def test_a_mark_that_was_left_is_crossed_again() -> None:
    assert story(at(0), at(60), at(20), at(60)) == ["+50", "-50", "+50"]


def test_a_mark_that_is_crossed_is_not_crossed_again() -> None:
    assert story(at(60), at(70), notes={"percent:50": Noted(1, REAL)}) == []


def test_what_suspense_reached_is_crossed_once_more_when_it_is_posted() -> None:
    assert story(at(0), at(0, 60), at(30, 30), at(60), at(70)) == ["?50", "+50"]


def test_suspense_that_is_released_is_left() -> None:
    assert story(at(10, 60), at(10), notes={"percent:50": Noted(1, PROVISIONAL)}) == ["-50"]


def test_what_was_posted_stays_crossed_while_suspense_keeps_it_there() -> None:
    assert story(at(60), at(20, 40), at(60), notes={"percent:50": Noted(1, REAL)}) == []


def test_what_a_refused_request_exhausted_stays_so_until_spending_falls() -> None:
    assert story(at(20), at(30), notes={EXHAUSTED: Noted(1, REAL)}) == []
    assert story(at(30), at(29), notes={EXHAUSTED: Noted(1, REAL)}) == ["-exhausted"]


def test_exhausted_and_over_the_limit_end_with_the_spending_that_made_them_so() -> None:
    marks = {"percent:50", "percent:75", EXHAUSTED, OVER_LIMIT}
    assert story(at(101), at(80), notes=dict.fromkeys(marks, Noted(1, REAL))) == ["-exhausted", "-over_limit"]


def test_another_limit_is_another_crossing() -> None:
    (turn,) = turns({"percent:50": Noted(1, REAL)}, 2, [at(60), at(61)])
    assert isinstance(turn, Crossed)


def test_of_what_one_entry_reaches_the_highest_that_is_really_reached_is_for_people() -> None:
    found = turns({}, 1, [at(0, 30), at(60, 30)])
    assert [(turn.is_highest, turn.provisional) for turn in found if isinstance(turn, Crossed)] == [
        (True, False),
        (False, True),
    ]


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 60)), min_size=1))
def test_after_any_course_what_is_crossed_is_what_is_reached(course: list[tuple[int, int]]) -> None:
    crossed: dict[str, bool] = {}
    for turn in turns({}, 1, [at(0), *(at(*each) for each in course)]):
        if isinstance(turn, Resolved):
            del crossed[turn.mark_id]
        else:
            was_provisional = crossed.get(id_of(turn.mark))
            assert was_provisional is None or (was_provisional and not turn.provisional)
            crossed[id_of(turn.mark)] = turn.provisional
    last = at(*course[-1])
    assert set(crossed) == {id_of(mark) for mark in last.reached}
    assert {mark for mark in crossed if not crossed[mark]} >= {id_of(mark) for mark in last.posted}


def crossed(noted: Noted, now: datetime, *, provisional: bool = False, is_for_people: bool = True) -> Crossing:
    """The mark's next occurrence."""
    register = Register({WINDOW: {"percent:50": noted}}, now)
    register.cross((WINDOW, "percent:50"), 1, BUDGET, provisional=provisional, is_for_people=is_for_people)
    (made,) = register.made
    return made


def test_people_hear_of_a_mark_that_is_crossed_again_once_a_day() -> None:
    before = Noted(1, None, told_at=NOON)
    assert not crossed(before, NOON + timedelta(days=1, microseconds=-1)).occurrence.notify_people
    assert crossed(before, NOON + timedelta(days=1)).occurrence.notify_people


def test_people_hear_of_a_mark_that_they_were_never_told_of() -> None:
    assert crossed(Noted(3), NOON).occurrence == Occurrence(4, 1, provisional=False, notify_people=True)


def test_a_clock_that_was_a_year_ahead_does_not_silence_people_for_a_year() -> None:
    assert crossed(Noted(1, None, told_at=NOON + timedelta(days=365)), NOON).occurrence.notify_people


def test_people_hear_nothing_of_what_suspense_reached() -> None:
    assert not crossed(Noted(), NOON, provisional=True).occurrence.notify_people


def test_what_is_crossed_and_left_in_one_batch_is_over_when_it_is_written() -> None:
    register = Register({}, NOON)
    place = (WINDOW, "percent:50")
    for number in (1, 2):
        register.cross(place, 1, UUID(int=number), provisional=False, is_for_people=True)
        register.resolve(place)
    register.cross(place, 1, UUID(int=3), provisional=False, is_for_people=True)
    assert [(each.occurrence.number, each.resolved_at) for each in register.made] == [(1, NOON), (2, NOON), (3, None)]
    assert [each.occurrence.notify_people for each in register.made] == [True, False, False]
    assert register.ended == set()


def test_what_is_open_in_the_books_ends_before_its_next_occurrence_begins() -> None:
    place = (WINDOW, "percent:50")
    register = Register({WINDOW: {"percent:50": Noted(1, PROVISIONAL)}}, NOON)
    assert register.cross(place, 1, BUDGET, provisional=False, is_for_people=True) is not None
    assert (register.ended, [each.occurrence.number for each in register.made]) == ({place}, [2])


def test_a_mark_that_is_not_crossed_has_no_end() -> None:
    assert Register({}, NOON).resolve((WINDOW, "percent:50")) is None
