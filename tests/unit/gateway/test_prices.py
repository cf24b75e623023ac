"""What the gateway makes of `price.catalogue`, whatever order its records arrive in."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from farebox.events import CatalogueAsOf, Envelope, PriceListed, headers_of, value_of
from farebox.ids import new_id
from farebox.kafka import Record
from farebox.pricing import Catalogue, PriceRow, Rates
from gateway.policy.catalogue_age import CatalogueAge
from gateway.policy.prices import Prices

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = b"openai/gpt-4o"


def row(name: str, **changes: Any) -> PriceRow:
    fields = {
        "id": name,
        "provider": "openai",
        "model": "gpt-4o",
        "effective_from": "2026-01-01T00:00:00Z",
        "rates": {"input": "1", "output": "2"},
        "source": "test",
    }
    return PriceRow.model_validate(fields | changes)


def listed(*names: str, revision: int | None) -> Record:
    event = PriceListed(provider="openai", model="gpt-4o", rows=tuple(row(name) for name in names), revision=revision)
    envelope = Envelope(new_id(), "farebox/metering", NOW, "openai/gpt-4o", event)
    return Record("price.catalogue", 0, 0, 0, KEY, value_of(event), headers_of(envelope))


def tombstone(revision: int | None) -> Record:
    headers = () if revision is None else (("ce_revision", str(revision).encode()),)
    return Record("price.catalogue", 0, 0, 0, KEY, None, headers)


async def version(records: Iterable[Record]) -> str:
    """What prices GPT-4o once these records have come, one at a time."""
    prices = Prices(Catalogue())
    for record in records:
        await prices.learn([record])
    return _version(prices, NOW)


def _version(prices: Prices, at: datetime) -> str:
    found = prices.rates("openai", "gpt-4o", at, None)
    assert isinstance(found, Rates)
    return found.version


async def test_an_older_revision_that_comes_late_does_not_win() -> None:
    assert await version([listed("1", "2", revision=2), listed("1", revision=1)]) == "2"


async def test_the_newest_revision_that_comes_again_changes_nothing() -> None:
    assert await version([listed("1", "2", revision=2), listed("1", "2", revision=2)]) == "2"


async def test_an_older_revision_does_not_bring_a_deleted_model_back() -> None:
    assert (await version([tombstone(3), listed("1", revision=2)])).startswith("genai-prices")


async def test_an_older_tombstone_does_not_delete() -> None:
    assert await version([listed("1", revision=2), tombstone(1)]) == "1"


async def test_a_newer_tombstone_deletes() -> None:
    assert (await version([listed("1", revision=2), tombstone(3)])).startswith("genai-prices")


async def test_a_list_without_revision_wins_where_it_has_more_rows() -> None:
    assert await version([listed("1", revision=1), listed("1", "2", revision=None)]) == "2"


async def test_a_list_without_revision_that_lacks_a_known_row_is_the_older() -> None:
    assert await version([listed("1", "2", revision=2), listed("1", revision=None)]) == "2"


async def test_a_tombstone_without_revision_deletes_only_what_has_none() -> None:
    assert (await version([listed("1", revision=None), tombstone(None)])).startswith("genai-prices")
    assert await version([listed("1", revision=1), tombstone(None)]) == "1"


async def test_a_price_that_begins_within_the_second_is_not_missed() -> None:
    prices = Prices(Catalogue([row("1"), row("2", effective_from=NOW + SECOND / 2)]))
    assert [_version(prices, NOW + SECOND * part) for part in (0, 0.4, 0.5)] == ["1", "1", "2"]


async def test_rates_of_a_later_instant_are_not_used_once_the_clock_was_set_back() -> None:
    prices = Prices(Catalogue([row("1"), row("2", effective_from=NOW)]))
    assert [_version(prices, at) for at in (NOW, NOW - timedelta(days=1))] == ["2", "1"]


def as_of(instant: datetime, revision: int = 1, lead_s: int = 900) -> Record:
    event = CatalogueAsOf(as_of=instant, lead_s=lead_s, revision=revision)
    envelope = Envelope(new_id(), "farebox/metering", instant, "as-of", event)
    return Record("price.catalogue", 0, 0, 0, b"as-of", value_of(event), headers_of(envelope))


@pytest.mark.parametrize(("seconds", "is_fit"), [(-900.1, False), (-900, True), (0, True), (899.9, True), (900, False)])
async def test_prices_are_fit_for_a_hard_budget_within_a_lead_time_of_their_instant(
    seconds: float, is_fit: bool
) -> None:
    prices = Prices(Catalogue())
    await prices.learn([as_of(NOW)])
    assert (prices.fault(NOW + SECOND * seconds) is None) == is_fit


async def test_a_gateway_that_was_never_told_how_old_prices_are_finds_no_fault() -> None:
    assert Prices(Catalogue()).fault(NOW) is None


async def test_the_newest_word_on_the_age_counts_also_when_its_clock_went_back() -> None:
    prices = Prices(Catalogue())
    await prices.learn([as_of(NOW + timedelta(days=1), revision=1), as_of(NOW, revision=2)])
    assert prices.fault(NOW) is None
    await prices.learn([as_of(NOW - timedelta(days=1), revision=1)])
    assert prices.fault(NOW) is None


async def test_a_later_instant_counts_though_metering_counts_its_revisions_anew() -> None:
    prices = Prices(Catalogue())
    await prices.learn([as_of(NOW - timedelta(days=1), revision=9), as_of(NOW, revision=1)])
    assert prices.fault(NOW) is None


@pytest.mark.parametrize(("minutes", "is_wrong"), [(-16, True), (-15, False), (0, False), (60 * 24, False)])
async def test_a_clock_must_be_wrong_where_the_books_have_shown_a_later_instant(minutes: int, is_wrong: bool) -> None:
    """One that is later may be right: nothing newer may have been heard."""
    assert CatalogueAge(1, NOW, timedelta(minutes=15)).is_ahead_of(NOW + timedelta(minutes=minutes)) == is_wrong


async def test_the_fault_names_both_clocks() -> None:
    prices = Prices(Catalogue())
    await prices.learn([as_of(NOW)])
    assert prices.fault(NOW + timedelta(days=1)) == (
        "Prices here are as of 2026-06-01T00:00:00+00:00 and the clock says 2026-06-02T00:00:00+00:00: either no newer "
        "ones were heard for 900 s, or this machine's clock is ahead of the books'."
    )
    assert prices.fault(NOW - timedelta(days=1)) == (
        "Prices here are as of 2026-06-01T00:00:00+00:00 and the clock says 2026-05-31T00:00:00+00:00: this machine's "
        "clock is more than 900 s behind the books'."
    )
