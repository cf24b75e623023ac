"""Units without a rate wait beside the charge for what has one."""

from datetime import UTC, datetime
from typing import Any

import pytest

from farebox.events import PricedAs, RequestCompleted, SuspenseReason, UsagePriced, decode
from farebox.ids import instant_of, new_id
from farebox.pricing import Catalogue, PriceRow, Usage
from metering import announcement
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, charge
from metering.units import UnitEntry, UnitLeft, charge_unit, left_of, unit_id
from support.attempts import VND, attempt

AT = datetime(2026, 11, 1, tzinfo=UTC)
SEEING = Usage(input=500, output=500, tool_calls={"telepathy": 3}, unknown={"video_tokens": 7})


def entry(event: RequestCompleted) -> Entry:
    outcome = charge(PriceBook(Catalogue(), 0), Attempt(event, ""))
    assert isinstance(outcome, Entry)
    return outcome


def book(**rates: str) -> PriceBook:
    beginning = datetime(1970, 1, 1, tzinfo=UTC)
    row = PriceRow(
        id="p1", provider="openai", model="gpt-4o", effective_from=beginning, per=1_000, rates=rates, source="test"
    )
    return PriceBook(Catalogue([row]), 1)


def test_what_has_a_rate_is_charged_and_what_has_none_is_left_beside_it() -> None:
    charged = entry(attempt(usage=SEEING))
    assert (charged.cost_nano_usd, charged.left) == (6_250_000, {"tool:telepathy": 3, "tool:video_tokens": 7})


@pytest.mark.parametrize("usage", [Usage(input=1, output=1), Usage(input=1, tool_calls={"web_search": 1})])
def test_nothing_is_left_of_what_has_rates(usage: Usage) -> None:
    assert not entry(attempt(usage=usage)).left


def test_text_without_a_rate_lets_the_whole_attempt_wait() -> None:
    outcome = charge(book(input="1"), Attempt(attempt(usage=SEEING), ""))
    assert not isinstance(outcome, Entry)


def test_a_units_id_is_its_own_and_in_the_attempts_millisecond() -> None:
    id_ = new_id()
    ids = {unit_id(id_, unit) for unit in ("tool:a", "tool:b", "tool:a")}
    assert len(ids) == 2
    assert {instant_of(each) for each in ids} == {instant_of(id_)}
    assert {each.variant for each in ids} == {id_.variant}


def test_a_unit_is_priced_by_itself_when_its_rate_has_come() -> None:
    event = attempt(usage=SEEING, billing=VND)
    [_, telepathy] = left_of(entry(event))
    priced = charge_unit(book(input="1", output="1", **{"tool:telepathy": "20"}), telepathy)
    assert priced is not None
    assert (priced.cost_nano_usd, priced.billed_nano) == (60_000_000, 60_000_000 * 24_167)
    assert charge_unit(book(input="1", output="1"), telepathy) is None


def told(left: UnitLeft, priced: UnitEntry | None) -> UsagePriced:
    message = (
        announcement.suspended_unit(left, AT, new_id(), topic="t")
        if priced is None
        else announcement.priced_unit(priced, AT, topic="t")
    )
    event = decode(headers={name: value or b"" for name, value in message.headers}, value=message.value).event
    assert isinstance(event, UsagePriced)
    return event


def test_a_unit_is_announced_as_an_entry_that_takes_from_no_share_a_second_time() -> None:
    event = attempt(usage=SEEING)
    [_, telepathy] = left_of(entry(event))
    waiting = told(telepathy, None)
    assert (waiting.suspense, waiting.entry_id) == (SuspenseReason.NO_RATE_FOR_UNIT, telepathy.id)
    priced = told(telepathy, charge_unit(book(input="1", output="1", **{"tool:telepathy": "20"}), telepathy))
    assert (priced.billed_nano, priced.attempt_id, priced.requests, priced.tokens) == (
        60_000_000,
        event.attempt_id,
        0,
        0,
    )
    assert priced.held is not None
    assert (priced.held.windows, priced.held.settled.money) == ((), 0)


@pytest.mark.parametrize("why", ["unknown_model", "cheaper_model"])
def test_an_attempt_is_priced_as_its_gateway_says(why: Any) -> None:
    served = attempt(served_model="gpt-4o-mini", priced_as=PricedAs(model="gpt-4o", why=why))
    assert entry(served).cost_nano_usd == entry(attempt()).cost_nano_usd


def test_a_bill_that_the_provider_states_is_the_cost() -> None:
    assert entry(attempt(usage=Usage(input=9, output=9, stated_cost_nano_usd=77))).cost_nano_usd == 77
