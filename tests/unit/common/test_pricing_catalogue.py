"""Which of the seed and its overrides applies does not depend on how they arrived."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.pricing import SEED_VERSION, Catalogue, PriceRow, Unpriced, UnpricedReason, Usage
from farebox.pricing.names import covers, is_pattern, meeting

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def row(
    id_: str, *, model: str = "gpt-4o", org: str | None = None, days: tuple[int, int | None] = (0, None)
) -> PriceRow:
    start, end = days
    return PriceRow(
        id=id_,
        provider="openai",
        model=model,
        org=org,
        effective_from=NOW + start * DAY,
        effective_to=None if end is None else NOW + end * DAY,
        rates={"input": Decimal(1), "output": Decimal(2)},
        source="test",
    )


def version(catalogue: Catalogue, model: str = "gpt-4o", *, at: datetime = NOW, org: str | None = None) -> str | None:
    rates = catalogue.rates_for("openai", model, at, org)
    return None if rates is None else rates.version


def test_without_a_row_the_seed_applies() -> None:
    assert version(Catalogue()) == SEED_VERSION


def test_a_row_applies_from_its_start_until_before_its_end() -> None:
    catalogue = Catalogue([row("a", days=(0, 2))])
    tick = timedelta(microseconds=1)
    assert version(catalogue, at=NOW - tick) == SEED_VERSION
    assert version(catalogue, at=NOW) == "a"
    assert version(catalogue, at=NOW + 2 * DAY - tick) == "a"
    assert version(catalogue, at=NOW + 2 * DAY) == SEED_VERSION


def test_of_rows_that_overlap_the_one_that_starts_last_applies() -> None:
    catalogue = Catalogue([row("b", days=(-1, None)), row("a", days=(-2, None))])
    assert version(catalogue) == "b"


def test_an_orgs_own_row_goes_before_one_for_all() -> None:
    catalogue = Catalogue([row("own", org="acme", days=(-5, None)), row("all", days=(-1, None))])
    assert version(catalogue, org="acme") == "own"
    assert version(catalogue, org="other") == "all"
    assert version(catalogue) == "all"


rows = st.builds(
    row,
    st.sampled_from("abcdef"),
    org=st.sampled_from([None, "acme"]),
    days=st.tuples(st.integers(-3, 0), st.none() | st.integers(1, 3)),
)


@given(st.data())
def test_neither_order_nor_repetition_of_rows_matters(data: st.DataObject) -> None:
    listed = data.draw(st.lists(rows, unique_by=lambda one: one.id))
    shuffled = data.draw(st.permutations([*listed, *listed]))
    assert version(Catalogue(listed), org="acme") == version(Catalogue(shuffled), org="acme")


def test_the_same_id_again_replaces_the_row() -> None:
    catalogue = Catalogue([row("a")])
    catalogue.add(row("a", days=(1, None)))
    assert version(catalogue) == SEED_VERSION


def test_a_record_of_the_price_topic_replaces_all_rows_of_its_model() -> None:
    catalogue = Catalogue([row("a"), row("b"), row("mini", model="gpt-4o-mini")])
    catalogue.replace("openai", "gpt-4o", [row("c", days=(-1, None))])
    assert version(catalogue) == "c"
    catalogue.replace("openai", "gpt-4o", [])
    assert version(catalogue) == SEED_VERSION
    assert version(catalogue, "gpt-4o-mini") == "mini"


def test_a_row_applies_to_every_reference_to_its_model() -> None:
    catalogue = Catalogue([row("a"), row("dated", model="gpt-4o-2024-08-06")])
    assert version(catalogue, "GPT-4o") == "a"
    assert version(catalogue, "gpt-4o-2024-11-20") == "a"
    assert version(catalogue, "gpt-4o-2024-08-06") == "dated"
    assert version(catalogue, "gpt-4o-mini") == SEED_VERSION


def test_a_model_that_the_seed_does_not_know_needs_only_a_row() -> None:
    catalogue = Catalogue([row("new", model="in-house-7b")])
    assert version(catalogue, "in-house-7b") == "new"
    assert "in-house-7b" in catalogue.models("openai")


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such"), ("no-such", "gpt-4o"), ("openai", "x" * 9_999)])
def test_what_is_in_no_catalogue_is_unpriced(provider: str, model: str) -> None:
    assert Catalogue().rates_for(provider, model, NOW) is None
    charge = Catalogue().price(provider, model, Usage(), NOW)
    assert isinstance(charge, Unpriced)
    assert charge.reason is UnpricedReason.UNKNOWN_MODEL


def test_a_model_before_its_first_price_waits_for_one() -> None:
    charge = Catalogue([row("new", model="in-house-7b")]).price("openai", "in-house-7b", Usage(), NOW - DAY)
    assert isinstance(charge, Unpriced)
    assert charge.reason is UnpricedReason.NO_PRICE_AT_TIME


def test_an_alias_lends_a_provider_the_list_prices_of_another() -> None:
    catalogue = Catalogue([row("a")], aliases={"Our-vLLM": "openai"})
    rates = catalogue.rates_for("our-vllm", "gpt-4o", NOW)
    assert rates is not None
    assert rates.version == SEED_VERSION
    assert catalogue.models("our-vllm") == Catalogue().models("openai")


def test_a_list_of_models_holds_no_other_orgs_own() -> None:
    catalogue = Catalogue([row("a", model="secret", org="acme")])
    assert "secret" in catalogue.models("openai", "acme")
    assert "secret" not in catalogue.models("openai", "other")
    assert "secret" not in catalogue.models("openai")
    assert catalogue.models("no-such") == ()


def test_a_price_needs_an_instant_with_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Catalogue().rates_for("openai", "gpt-4o", datetime(2026, 1, 1))  # noqa: DTZ001 - the rule under test


def test_a_row_for_a_name_goes_before_a_pattern_and_a_longer_pattern_before_a_shorter_one() -> None:
    listed = [row("star", model="my-*"), row("ft", model="my-ft-*"), row("exact", model="my-ft-a", days=(-3, None))]
    catalogue = Catalogue(listed)
    assert [version(catalogue, name) for name in ("my-ft-a", "MY-FT-b", "my-c", "your-c")] == [
        "exact",
        "ft",
        "star",
        None,
    ]


def test_a_longer_pattern_for_all_goes_before_an_orgs_own_shorter_one() -> None:
    catalogue = Catalogue([row("own", model="my-*", org="acme"), row("all", model="my-ft-*")])
    assert version(catalogue, "my-ft-a", org="acme") == "all"
    assert version(catalogue, "my-b", org="acme") == "own"


def test_of_rows_of_one_pattern_an_orgs_own_goes_first() -> None:
    catalogue = Catalogue([row("own", model="my-*", org="acme"), row("all", model="my-*")])
    assert [version(catalogue, "my-b", org=org) for org in ("acme", None)] == ["own", "all"]


def test_a_pattern_goes_before_the_seed() -> None:
    assert version(Catalogue([row("ours", model="gpt-4*")]), "gpt-4o-2024-08-06") == "ours"


@pytest.mark.parametrize("name", ["gpt-99-2026-10-01", "gpt-99-20261001", "gpt-99-latest", "gpt-99@20261001"])
def test_a_dated_name_finds_the_row_of_its_model(name: str) -> None:
    assert version(Catalogue([row("a", model="gpt-99")]), name) == "a"
    assert version(Catalogue([row("a", model="gpt-99"), row("b", model=name)]), name) == "b"


def test_four_digits_are_a_generation_and_no_date() -> None:
    assert version(Catalogue([row("a", model="large")]), "large-2512") is None


@pytest.mark.parametrize("name", ["ft:gpt-5:acme::x1", "gpt-5.ft-x1", "gpt-5:ft-x1", "ft:gpt-99"])
def test_a_fine_tuned_model_never_costs_what_its_base_does(name: str) -> None:
    assert version(Catalogue(), name) is None
    assert version(Catalogue([row("base", model="gpt-5")]), name) is None
    assert version(Catalogue([row("own", model=name)]), name) == "own"


def test_patterns_are_no_models_to_list() -> None:
    assert "my-*" not in Catalogue([row("a", model="my-*")]).models("openai")


shell = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=5).map("".join)
patterns = shell.filter(is_pattern)
plain_names = st.text("ab", max_size=6)


@given(shell, plain_names)
def test_a_pattern_covers_what_the_shell_says(pattern: str, name: str) -> None:
    assert covers(pattern, name) == fnmatchcase(name, pattern)


@given(patterns, patterns, plain_names)
def test_patterns_meet_in_a_name_that_both_cover_and_only_where_there_is_one(one: str, other: str, name: str) -> None:
    found = meeting(one, other)
    if found is None:
        assert not (covers(one, name) and covers(other, name))
    else:
        assert covers(one, found)
        assert covers(other, found)
