"""Rollups add up what entries say, no more and no less."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farebox.events import RequestCompleted
from farebox.pricing import Catalogue, Usage
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, charge
from metering.rollup import DAY_S, HOUR_S, MEASURES, Counts, Dimension, dimension_id, roll_up
from support.attempts import ALICE, BOB, KRW, USD, attempt, id_made_at

MIDNIGHT = datetime(2026, 3, 15, tzinfo=UTC)
BOOK = PriceBook(Catalogue(), 0)


def entry(**changes: Any) -> Entry:
    outcome = charge(BOOK, Attempt(attempt(**changes), ""))
    assert isinstance(outcome, Entry)
    return outcome


entries = st.builds(
    entry,
    id_=st.integers(-DAY_S, 2 * DAY_S).map(lambda seconds: id_made_at(MIDNIGHT + timedelta(seconds=seconds))),
    principal=st.sampled_from([ALICE, BOB]),
    session=st.sampled_from([None, "chat-1", "chat-2"]),
    feature=st.sampled_from([None, "qa_chat"]),
    served_model=st.sampled_from(["gpt-4o", "gpt-4o-mini"]),
    billing=st.sampled_from([USD, KRW]),
    usage=st.builds(Usage, input=st.integers(0, 9_000), output=st.integers(0, 900), cache_read=st.integers(0, 99)),
    attempt=st.integers(1, 2),
    outcome=st.sampled_from(["success", "provider_error"]),
    cache_hit=st.sampled_from(["none", "gateway", "caller"]),
    complexity=st.sampled_from([None, "simple", "medium", "complex"]),
)


def counted(one: Entry) -> Counter[str]:
    event = one.attempt.event
    counts = Counter(
        attempts=1,
        requests=int(event.attempt == 1),
        succeeded=int(event.outcome == "success"),
        cache_hits=int(event.cache_hit != "none"),
        input_tokens=event.usage.input_total,
        output_tokens=event.usage.output_total,
        cost_nano_usd=one.cost_nano_usd,
        billed_nano=one.billed_nano,
    )
    return counts + Counter([event.complexity] if event.complexity else [])


def summed(sums: Mapping[Any, Counts], some: list[Entry], key: Callable[[RequestCompleted, int], Any]) -> None:
    """The rollup's sums are those of the entries that have this key, added one by one."""
    expected: dict[Any, Counter[str]] = {}
    for one in some:
        event = one.attempt.event
        mine = key(event, int(event.started_at.timestamp()) // HOUR_S * HOUR_S)
        expected[mine] = expected.get(mine, Counter()) + counted(one)
    assert {at: +Counter(dict(zip(MEASURES, counts, strict=True))) for at, counts in sums.items()} == expected


@given(st.lists(entries, max_size=20))
def test_hours_days_and_sessions_hold_the_sums_of_their_entries(some: list[Entry]) -> None:
    def by(event: RequestCompleted) -> Dimension:
        who = event.principal
        parts = (event.feature, event.provider, event.served_model, event.billing.currency)
        return Dimension(who.org, who.team, who.user, who.key, *parts)

    rollup = roll_up(some)
    summed(rollup.hours, some, lambda event, hour: (hour, by(event)))
    summed(rollup.days, some, lambda event, hour: (hour // DAY_S * DAY_S, by(event)))
    chats = [one for one in some if one.attempt.event.session]
    summed(rollup.sessions, chats, lambda event, hour: (event.session, hour, by(event)))


def test_a_request_counts_once_however_many_attempts_it_took() -> None:
    some = [entry(attempt=1, outcome="provider_error"), entry(attempt=2)]
    [counts] = roll_up(some).days.values()
    assert counts[:3] == (2, 1, 1)


def test_hours_and_days_are_utc_whatever_the_attempts_own_zone() -> None:
    seoul = timezone(timedelta(hours=9))
    local = MIDNIGHT.astimezone(seoul) - timedelta(seconds=1)
    [(hour, _)] = roll_up([entry(started_at=local)]).hours
    assert datetime.fromtimestamp(hour, UTC) == MIDNIGHT - timedelta(hours=1)


def test_currencies_never_meet_in_one_row() -> None:
    assert len(roll_up([entry(billing=USD), entry(billing=KRW)]).hours) == 2


def test_a_dimension_has_one_id_and_a_missing_part_is_not_an_empty_one() -> None:
    [first] = roll_up([entry(feature=None)]).dimensions()
    assert dimension_id(first) == dimension_id(first._replace()) != dimension_id(first._replace(feature="None"))
