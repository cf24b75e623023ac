"""Our prices beside those of LiteLLM's open list: 46 models, 12 kinds of call, and every difference is explained."""

import tomllib
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

import support.litellm
from farebox.pricing import SEED_VERSION, Catalogue, Charge, PriceRow, Rates, Usage
from farebox.pricing.overlay import overlay
from farebox.pricing.seed import find_model
from support.litellm.prices import LISTED, cost_nano_usd

AT: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
CATALOGUE: Final = Catalogue()
CACHED: Final[dict[str, Any]] = {"input": 200, "cache_read": 800, "output": 500}
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "plain": {"input": 1_000, "output": 500},
    "cached": CACHED,
    "cache_write": {"cache_write_5m": 600, "cache_write_1h": 400, "output": 100},
    "reasoning": {"input": 1_000, "output": 100, "reasoning": 400},
    "audio": {"input": 100, "audio_in": 900, "output": 100},
    "image": {"input": 100, "image_in": 900, "output": 100},
    "long": {"input": 300_000, "cache_read": 50_000, "output": 1_000},
    "search": {"input": 1_000, "output": 500, "tool_calls": {"web_search": 2}},
    "flex": {**CACHED, "service_tier": "flex"},
    "priority": {**CACHED, "service_tier": "priority"},
    "batch": {**CACHED, "service_tier": "batch"},
    "elsewhere": {**CACHED, "speed": "fast", "geography": "us"},
}
CELLS: Final = [(name, shape) for name in LISTED for shape in SHAPES]
EXPLAINED: Final[list[dict[str, Any]]] = tomllib.loads(
    Path(support.litellm.__file__).with_name("differences.toml").read_text("utf-8")
)["difference"]


def differs(name: str, shape: str) -> bool:
    provider, _, model = name.partition("/")
    usage = Usage.model_validate(SHAPES[shape])
    ours = CATALOGUE.price(provider, model, usage, AT)
    return (ours.cost_nano_usd if isinstance(ours, Charge) else None) != cost_nano_usd(name, usage)


def explains(one: dict[str, Any], name: str, shape: str) -> bool:
    return shape in one["shapes"] and any(fnmatchcase(name, pattern) for pattern in one["models"])


def test_it_is_about_46_models_and_12_kinds_of_call() -> None:
    assert (len(LISTED), len(SHAPES)) == (46, 12)


@pytest.mark.parametrize("name", LISTED)
def test_every_difference_is_explained(name: str) -> None:
    different = [shape for shape in SHAPES if differs(name, shape)]
    assert [shape for shape in different if not any(explains(one, name, shape) for one in EXPLAINED)] == []


@pytest.mark.parametrize("one", EXPLAINED, ids=lambda one: one["why"][:40])
def test_every_explanation_explains_a_difference_and_says_who_is_right(one: dict[str, Any]) -> None:
    for pattern in one["models"]:
        for shape in one["shapes"]:
            assert any(differs(name, shape) for name, each in CELLS if each == shape and fnmatchcase(name, pattern))
    assert one["right"] in {"ours", "neither"}, "where LiteLLM is right, the overlay says as it does"
    assert one["why"].endswith(".")


def test_the_overlay_was_compared_with_the_seed_in_use() -> None:
    assert overlay().seed == SEED_VERSION


def test_every_correction_of_the_seed_names_its_source_and_its_date() -> None:
    sources = [
        *(row.source for row in overlay().rows),
        *(supplement.source for supplement in overlay().supplements),
        *(alias.source for alias in overlay().aliases),
    ]
    assert [source for source in sources if not ("https://" in source and "2026-" in source)] == []


@pytest.mark.parametrize("row", overlay().rows, ids=lambda row: row.id)
def test_a_row_of_the_overlay_says_something_else_than_the_seed(row: PriceRow) -> None:
    seeded = find_model(row.provider, row.model.rstrip("*"))
    assert seeded is None or said(seeded.rates_at(row.effective_from)) != said(row.compiled())


def said(rates: Rates) -> object:
    return {
        mode: [(table.above, table.tokens, table.request, dict(table.tools)) for table in tables]
        for mode, tables in rates.modes.items()
    }
