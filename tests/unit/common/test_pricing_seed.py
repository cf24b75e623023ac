"""The compiled seed prices as genai-prices does: its own calc_price is the oracle."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TimeOfDateConstraint
from hypothesis import given
from hypothesis import strategies as st

from farebox.money import NANO
from farebox.pricing import SEED_VERSION, Catalogue, Charge, Unpriced, UnpricedReason, Usage, price
from farebox.pricing.overlay import meanings
from farebox.pricing.seed import SeedModel
from support.usages import SEED_TOOLS, SERVICE_TIERS, genai_cost_nano_usd, served_somehow, usages

CATALOGUE = Catalogue()
MODELS = [(provider, model) for provider in providers for model in provider.models]
COMPILED = {(provider.id, model.id): SeedModel(provider, model) for provider, model in MODELS}
CHANGING = [(provider, model) for provider, model in MODELS if isinstance(model.prices, list)]
VARIED = [(provider, model) for provider, model in MODELS if model.price_variants]
SEARCHES = sorted(SEED_TOOLS.keys() - {"code_execution"})
"""Tools whose prices the overlay does not add to."""
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)

instants = st.datetimes(datetime(2023, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001


def edges(model: ModelInfo) -> list[datetime]:
    """Instants just before and at which one of the model's prices begins or ends."""
    conditions = model.prices if isinstance(model.prices, list) else []
    found = [AT]
    for condition in (*conditions, *(model.price_variants or ())):
        match condition.constraint:
            case StartDateConstraint(start_date=start):
                found.append(datetime.combine(start, time(), UTC))
            case TimeOfDateConstraint(start_time=start, end_time=end):
                found += [datetime.combine(AT, edge) for edge in (start, end)]
    return [edge - before for edge in found for before in (timedelta(), timedelta(microseconds=1))]


def assert_as_genai_prices(provider: Provider, model: ModelInfo, usage: Usage, at: datetime) -> None:
    charge = price(COMPILED[provider.id, model.id].rates_at(at), usage)
    expected = genai_cost_nano_usd(provider, model, usage, at)
    match charge:
        case Charge():
            assert charge == Charge(expected, SEED_VERSION)
        case Unpriced(reason=UnpricedReason.NO_RATE_FOR_UNIT):
            assert is_not_sold(model, usage, at) or lacks_a_rate(provider, model, usage, at)
        case Unpriced():
            pytest.fail(f"{provider.id}/{model.id}: {charge}")


def is_not_sold(model: ModelInfo, usage: Usage, at: datetime) -> bool:
    """Where genai-prices lists nothing for a tier or speed, it charges the standard price; we refuse."""
    variants = [v for v in model.price_variants or () if v.constraint is None or v.constraint.active(at)]
    when = [item for variant in variants if vars(variant.prices) for item in variant.when.items()]
    tiers = {name for key, name in when if key in ("service_tier", "processing")}
    speeds = {name for key, name in when if key == "speed"}
    return usage.service_tier not in tiers | {None, "default"} or usage.speed not in speeds | {None, "standard"}


def lacks_a_rate(provider: Provider, model: ModelInfo, usage: Usage, at: datetime) -> bool:
    """Where genai-prices lists nothing for a side of the call, for sound, or for tokens at all, it charges 0 or as for
    text; we refuse."""
    listed = vars(model.get_prices(at))
    tools_without = [tool for tool in usage.tool_calls if f"{SEED_TOOLS[tool]}_kcount" not in listed]
    return bool(
        (usage.input_total and "input_mtok" not in listed)
        or (usage.output_total and "output_mtok" not in listed)
        or (usage.audio_in and "input_audio_mtok" not in listed and provider.id != "google")
        or (usage.audio_out and "output_audio_mtok" not in listed)
        or (usage.image_out and "output_image_mtok" not in listed)
        or tools_without
        or {"input_mtok", "output_mtok"}.isdisjoint(listed)
    )


def test_every_model_of_the_seed_prices_as_genai_prices_does() -> None:
    usage = Usage(input=1_234, cache_read=567, cache_write_5m=89, cache_write_1h=10, output=321, reasoning=123)
    for provider, model in MODELS:
        assert_as_genai_prices(provider, model, usage, AT)


def test_every_service_tier_prices_as_genai_prices_does_whenever_a_price_begins() -> None:
    for provider, model in VARIED:
        for at in edges(model):
            for tier in SERVICE_TIERS:
                usage = Usage(input=300_001, cache_read=2, output=7, image_in=4, service_tier=tier)
                assert_as_genai_prices(provider, model, usage, at)


def test_a_price_begins_at_its_instant_and_not_a_microsecond_sooner() -> None:
    for provider, model in CHANGING:
        for at in edges(model):
            assert_as_genai_prices(provider, model, Usage(input=1_000_003, output=1_001), at)


@given(st.sampled_from(CHANGING), instants)
def test_rates_name_the_dates_between_which_they_hold(listed: tuple[Provider, ModelInfo], at: datetime) -> None:
    provider, model = listed
    rates = COMPILED[provider.id, model.id].rates_at(at)
    assert rates.effective_from is None or rates.effective_from <= at
    assert rates.effective_to is None or at < rates.effective_to


@given(st.sampled_from(MODELS), usages, instants)
def test_any_usage_of_any_model_at_any_time_prices_as_genai_prices_does(
    listed: tuple[Provider, ModelInfo], usage: Usage, at: datetime
) -> None:
    assert_as_genai_prices(*listed, usage, at)


@given(st.sampled_from(VARIED), served_somehow, instants)
def test_variants_price_as_genai_prices_does(listed: tuple[Provider, ModelInfo], usage: Usage, at: datetime) -> None:
    assert_as_genai_prices(*listed, usage, at)


@given(st.sampled_from(MODELS), st.dictionaries(st.sampled_from(SEARCHES), st.integers(1, 9)))
def test_tool_calls_price_as_genai_prices_does(listed: tuple[Provider, ModelInfo], calls: dict[str, int]) -> None:
    assert_as_genai_prices(*listed, Usage(input=10, output=10, tool_calls=calls), AT)


@pytest.mark.parametrize("beyond", [0, 1])
def test_the_whole_call_is_priced_at_the_long_context_tier(beyond: int) -> None:
    rates = CATALOGUE.rates_for("anthropic", "claude-sonnet-4-5", AT)
    assert rates is not None
    usage = Usage(input=100_000, cache_read=100_000 + beyond, output=1_000_000)
    assert price(rates, usage) == Charge([15_330_000_000, 23_160_000_600][beyond], SEED_VERSION)


@pytest.mark.parametrize(
    ("provider", "reference", "model"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-5.2-20251211", "gpt-5.2"),
        ("anthropic", "claude-3-5-sonnet-20241022", "claude-3-5-sonnet"),
        ("azure", "gpt-4o-mini", "gpt-4o-mini"),
    ],
)
def test_a_reference_means_the_model_that_genai_prices_finds(provider: str, reference: str, model: str) -> None:
    rates = CATALOGUE.rates_for(provider, reference, AT)
    assert rates is not None
    assert (rates.provider, rates.model) == (provider, model)


def test_every_id_that_is_listed_can_be_priced_by_it() -> None:
    for provider in providers:
        for model in CATALOGUE.models(provider.id):
            rates = CATALOGUE.rates_for(provider.id, model, AT)
            assert rates is not None
            assert rates.model == meanings().get((provider.id, model), model)


def test_a_variant_does_not_follow_a_model_to_a_provider_that_borrows_it() -> None:
    flex = Usage(input=1_000, output=1_000, service_tier="flex")
    assert isinstance(CATALOGUE.price("azure", "gpt-5", flex, AT), Unpriced)
    assert CATALOGUE.price("openai", "gpt-5", flex, AT) == Charge(5_625_000, SEED_VERSION)


@pytest.mark.parametrize(
    "stated",
    [
        {"service_tier": "scale"},
        {"speed": "fast"},
        {"geography": "eu"},
        {"service_tier": "flex", "speed": "fast"},
    ],
)
def test_what_is_stated_and_has_no_price_is_never_charged_as_the_standard(stated: dict[str, str]) -> None:
    usage = Usage.model_validate({"input": 1_000, "output": 1_000, **stated})
    charge = CATALOGUE.price("openai", "gpt-5", usage, AT)
    assert isinstance(charge, Unpriced)
    assert all(f"{name.replace('_', ' ')} {value}" in charge.detail for name, value in stated.items())


@pytest.mark.parametrize(
    "stated",
    [
        {"service_tier": "default"},
        {"service_tier": "standard"},
        {"service_tier": "on_demand"},
        {"service_tier": "AUTO"},
        {"speed": "standard", "service_tier": "standard"},
        {"geography": "global"},
        {"geography": "not_available"},
    ],
)
def test_every_name_of_the_standard_is_the_standard(stated: dict[str, str]) -> None:
    usage = Usage.model_validate({"input": 1_000, "output": 1_000, **stated})
    assert CATALOGUE.price("openai", "gpt-5", usage, AT) == Charge(11_250_000, SEED_VERSION)


def test_sound_without_a_rate_of_its_own_is_not_charged_as_text() -> None:
    heard = Usage(input=10, audio_in=1_000, output=10)
    assert isinstance(CATALOGUE.price("openai", "gpt-4o", heard, AT), Unpriced)
    assert isinstance(CATALOGUE.price("google", "gemini-2.5-pro", heard, AT), Charge)


def test_a_model_listed_without_prices_is_unpriced_and_not_free() -> None:
    empty = [(p, m) for p, m in MODELS if isinstance(m.prices, ModelPrice) and not vars(m.prices)]
    for provider, model in empty:
        charge = price(COMPILED[provider.id, model.id].rates_at(AT), Usage(input=1, output=1))
        assert (charge == Charge(0, SEED_VERSION)) == model.id.endswith(":free"), model.id


def test_prices_for_units_that_no_bucket_counts_are_shown() -> None:
    rates = CATALOGUE.rates_for("google", "gemini-3.1-flash-live-preview", AT)
    assert rates is not None
    assert rates.unmetered == ("input_video_mtok",)


def test_a_model_billed_by_the_hour_prices_nothing_not_even_an_empty_call() -> None:
    charge = CATALOGUE.price("groq", "whisper-large-v3", Usage(), AT)
    assert isinstance(charge, Unpriced)


def test_compiled_rates_are_kept_and_shared_by_every_reference() -> None:
    assert CATALOGUE.rates_for("openai", "gpt-4o", AT) is CATALOGUE.rates_for("openai", "gpt-4o-2024-08-06", AT)


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(input=1_000, cache_read=1_000, output=1_000), 30_500_000),
        (Usage(input=1_000, cache_read=1_000, output=1_000, geography="us"), 33_550_000),
        (Usage(input=1_000, cache_read=1_000, output=1_000, speed="fast"), 183_000_000),
        (Usage(input=1_000, cache_read=1_000, output=1_000, speed="fast", geography="us"), 201_300_000),
        (Usage(tool_calls={"web_search": 3, "web_fetch": 9}, speed="fast", geography="us"), 30_000_000),
        (Usage(tool_calls={"code_execution": 12}), 50_000_000),
    ],
)
def test_fast_mode_and_geography_of_opus_cost_what_anthropic_says(usage: Usage, nano: int) -> None:
    charge = CATALOGUE.price("anthropic", "claude-opus-4-6", usage, AT)
    assert isinstance(charge, Charge)
    assert charge.cost_nano_usd == nano


@pytest.mark.parametrize(
    ("provider", "model", "tools", "nano"),
    [
        ("perplexity", "sonar", {}, 5_000_000),
        ("perplexity", "sonar", {"search_context_low": 1}, 5_000_000),
        ("perplexity", "sonar-pro", {"search_context_medium": 1}, 10_000_000),
        ("perplexity", "sonar-reasoning-pro", {"search_context_high": 1, "search_queries": 3}, 14_000_000),
        ("perplexity", "sonar-deep-research", {"search_queries": 2, "citation_tokens": 500}, 11_000_000),
        ("openai", "gpt-4o-search-preview-2025-03-11", {}, 25_000_000),
        ("openai", "gpt-5-search-api", {"web_search": 1}, 10_000_000),
    ],
)
def test_models_that_search_charge_their_fee_for_each_call(
    provider: str, model: str, tools: dict[str, int], nano: int
) -> None:
    charge = CATALOGUE.price(provider, model, Usage(tool_calls=tools), AT)
    assert isinstance(charge, Charge)
    assert charge.cost_nano_usd == nano


@pytest.mark.parametrize(
    ("reference", "input_rate"),
    [
        ("ft:gpt-4.1-2025-04-14:acme::a1", 3),
        ("ft:gpt-4.1-mini-2025-04-14:acme:x:a1", Decimal("0.8")),
        ("ft:gpt-4o-mini-2024-07-18:acme::a1", Decimal("0.3")),
        ("ft:gpt-4o-2024-08-06:acme::a1", Decimal("3.75")),
        ("ft:gpt-3.5-turbo-0125:acme::a1", 3),
    ],
)
def test_a_fine_tuned_model_has_rates_of_its_own(reference: str, input_rate: Decimal) -> None:
    charge = CATALOGUE.price("openai", reference, Usage(input=1_000_000), AT)
    assert isinstance(charge, Charge)
    assert charge.cost_nano_usd == input_rate * NANO
