"""What the gateway makes of `price.catalogue`, whatever order its records arrive in."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from farebox.events import Envelope, PriceListed, headers_of, value_of
from farebox.ids import new_id
from farebox.kafka import Record
from farebox.pricing import Catalogue, PriceRow, Rates
from gateway.policy.prices import Prices

NOW = datetime(2026, 6, 1, tzinfo=UTC)
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
    found = prices.rates("openai", "gpt-4o", NOW, None)
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
