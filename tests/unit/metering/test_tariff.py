"""Rates are kept as they were."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from farebox.pricing import Catalogue, Rates, RateTable, Usage, explain, price
from metering.tariff import rates_of, shown, tariff_of

AT = datetime(2026, 3, 15, tzinfo=UTC)
CATALOGUE = Catalogue()


def rates(provider: str, model: str) -> Rates:
    found = CATALOGUE.rates_for(provider, model, AT)
    assert found is not None
    return found


def plain(ladder: tuple[RateTable, ...]) -> list[tuple[object, ...]]:
    return [(t.above, t.upto, t.tokens, t.request, dict(t.tools)) for t in ladder]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("google", "gemini-2.5-pro"),
        ("deepseek", "deepseek-chat"),
    ],
)
def test_a_tariff_gives_back_the_rates_it_was_made_of(provider: str, model: str) -> None:
    before = rates(provider, model)
    after = rates_of(tariff_of(before).json)
    assert {mode: plain(ladder) for mode, ladder in after.modes.items()} == {
        mode: plain(ladder) for mode, ladder in before.modes.items()
    }
    assert (after.version, after.effective_from, after.unmetered) == (
        before.version,
        before.effective_from,
        before.unmetered,
    )


def test_a_charge_can_be_explained_from_its_tariff() -> None:
    before, usage = rates("google", "gemini-2.5-pro"), Usage(input=300_000, output=10, cache_read=7)
    after = rates_of(tariff_of(before).json)
    assert price(after, usage) == price(before, usage)
    assert explain(after, usage) == explain(before, usage)


def test_other_rates_are_another_tariff() -> None:
    assert tariff_of(rates("openai", "gpt-4o")).id != tariff_of(rates("openai", "gpt-4o-mini")).id


def test_rates_are_shown_in_dollars_a_million_tokens() -> None:
    table: Any = shown(rates("openai", "gpt-4o"))["standard"]
    assert str(table[0]["per_million_tokens"]["input"]) == "2.5"
    assert str(table[0]["per_million_tokens"]["output"]) == "10"


OLDER: dict[str, Any] = {
    "provider": "acme",
    "model": "one",
    "version": "row-1",
    "effective_from": None,
    "effective_to": None,
    "standard": [{"above": -1, "upto": None, "tokens": ["5"] * 10, "request": "0", "tools": {}}],
    "variants": {"flex": [{"above": -1, "upto": None, "tokens": ["3"] * 10, "request": "0", "tools": {}}]},
    "unmetered": [],
}


def test_a_tariff_from_before_there_were_speeds_is_still_read() -> None:
    after = rates_of(json.dumps(OLDER))
    assert {mode.service_tier: ladder[0].tokens[0] for mode, ladder in after.modes.items()} == {None: 5, "flex": 3}
