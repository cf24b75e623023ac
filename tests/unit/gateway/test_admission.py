from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from farebox.matching import is_allowed
from farebox.pricing import TEXT_BUCKETS, Catalogue, Exposure, PriceRow, Rates, Unpriced, Usage
from gateway.admission.bounds import Bounds
from gateway.admission.estimate import Estimate, actual, affordable, clamped, estimate, unexposed
from gateway.shares.amount import Amount

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DOLLAR = Decimal(1)


def rates(**usd_a_million: str) -> Rates:
    row = PriceRow.model_validate(
        {
            "id": "row",
            "provider": "here",
            "model": "m",
            "per": 1_000_000,
            "rates": usd_a_million,
            "effective_from": "2026-01-01T00:00:00Z",
            "source": "test",
        }
    )
    return row.compiled()


def limits(input_tokens: int = 1000, output: int = 100, **more: Any) -> Bounds:
    return Bounds(input=input_tokens, output=output, **more)


def test_the_reserve_is_every_byte_and_every_token_of_every_choice() -> None:
    found = estimate(rates(input="3", output="15"), DOLLAR, limits(1000, 100, choices=2))
    assert isinstance(found, Estimate)
    assert found.cost_nano_usd == 1000 * 3_000 + 200 * 15_000
    assert found.amount == Amount(found.cost_nano_usd, 1, 1200)


def test_the_reserve_is_in_the_currency_of_the_bill() -> None:
    found = estimate(rates(input="3", output="15"), Decimal(1300), limits(500, 300))
    assert isinstance(found, Estimate)
    assert found.amount.money == 7_800_000_000


def test_cache_writes_are_reserved_for_where_they_are_asked_for() -> None:
    dear = rates(input="3", cache_write_1h="6", output="15")
    caches = Exposure(TEXT_BUCKETS, service_tiers=frozenset())
    plain, caching = (estimate(dear, DOLLAR, each) for each in (limits(), limits(exposure=caches)))
    assert isinstance(plain, Estimate)
    assert isinstance(caching, Estimate)
    assert caching.cost_nano_usd - plain.cost_nano_usd == 1000 * 3_000


def test_what_has_no_price_has_no_estimate() -> None:
    assert isinstance(estimate(rates(input="3"), DOLLAR, limits()), Unpriced)


def test_a_call_is_cut_to_what_fits_and_no_further() -> None:
    cheap = rates(input="1", output="1")
    found = clamped(cheap, DOLLAR, limits(100, 4096), Amount(150_500, 9, 10_000), least_output=16)
    assert found is not None
    assert found.bounds.output == 50


def test_a_call_that_does_not_even_fit_at_its_least_is_not_cut() -> None:
    assert clamped(rates(input="1", output="1"), DOLLAR, limits(100, 64), Amount(115_999, 1, 999), 16) is None


def test_the_least_is_never_more_than_was_asked_for() -> None:
    found = clamped(rates(input="1", output="1"), DOLLAR, limits(100, 5), Amount(105_000, 1, 999), 16)
    assert found is not None
    assert found.bounds.output == 5


@pytest.mark.parametrize("room", [100_017, 150_500, 163_999, 164_000, 4_195_999])
def test_a_cut_uses_all_the_room_there_is(room: int) -> None:
    cheap = rates(input="1", output="1")
    found = clamped(cheap, DOLLAR, limits(100, 4096), Amount(room, 9, 10_000), least_output=0)
    assert found is not None
    assert found.cost_nano_usd <= room < found.cost_nano_usd + 1_000


def test_an_answer_nobody_limited_is_worth_no_more_than_its_part() -> None:
    worst = estimate(rates(input="1", output="1"), DOLLAR, limits(100, 16_384))
    assert isinstance(worst, Estimate)
    found = affordable(rates(input="1", output="1"), DOLLAR, worst, Amount(250_000, 9, 10**9), 16)
    assert found.bounds.output == 250


def test_an_answer_nobody_limited_has_at_least_the_accounts_fewest_tokens() -> None:
    plain = rates(input="1", output="1")
    worst = estimate(plain, DOLLAR, limits(100, 16_384))
    assert isinstance(worst, Estimate)
    assert affordable(plain, DOLLAR, worst, Amount(0, 9, 0), 16).bounds.output == 16


def test_a_search_is_held_for_at_its_fee_or_in_that_of_the_request() -> None:
    own, with_request = rates(input="1", output="1"), rates(input="1", output="1", request="5000")
    searching = limits(10, 10, searches=True)
    assert isinstance(estimate(own, DOLLAR, searching), Unpriced)
    assert isinstance(estimate(own, DOLLAR, unexposed(searching)), Estimate)
    found = estimate(with_request, DOLLAR, searching)
    assert isinstance(found, Estimate)
    assert found.cost_nano_usd == 20_000 + 5_000_000


def test_the_largest_context_of_a_search_is_held_for() -> None:
    sonar = Catalogue().rates_for("perplexity", "sonar", NOW)
    assert sonar
    found = estimate(sonar, DOLLAR, limits(0, 0, searches=True))
    assert isinstance(found, Estimate)
    assert found.cost_nano_usd == 12_000_000


def test_sound_without_a_price_of_its_own_is_not_held_for_as_text() -> None:
    heard = limits(exposure=Exposure(TEXT_BUCKETS, audio_in=10))
    deaf = Catalogue().rates_for("openai", "gpt-4o-mini", NOW)
    assert deaf
    assert isinstance(estimate(deaf, DOLLAR, heard), Unpriced)


def test_what_was_used_is_priced_as_metering_prices_it() -> None:
    assert actual(rates(input="3", output="15"), Decimal(1300), Usage(input=500, output=300)) == (
        6_000_000,
        Amount(7_800_000_000, 1, 800),
    )
    assert actual(rates(input="3"), DOLLAR, Usage(output=1)) is None


@pytest.mark.parametrize(
    ("allowed", "blocked", "verdict"),
    [
        (None, (), True),
        (("gpt-4o*",), (), True),
        (("claude-*",), (), False),
        ((), (), False),
        (None, ("gpt-4o",), False),
        (("gpt-4o",), ("gpt-*",), False),
    ],
)
def test_what_is_blocked_is_blocked_even_if_allowed(
    allowed: tuple[str, ...] | None, blocked: tuple[str, ...], verdict: bool
) -> None:
    assert is_allowed("openai", "gpt-4o", allowed, blocked) is verdict


@pytest.mark.parametrize("name", ["gpt-4o", "GPT-4o", "gpt-4o-2024-08-06", "chatgpt-4o-latest"])
def test_no_other_name_of_a_blocked_model_gets_past_the_list(name: str) -> None:
    assert not is_allowed("openai", name, None, ("gpt-4o", "chatgpt-4o*"))
    assert is_allowed("openai", "gpt-4o-mini", None, ("gpt-4o",))


@pytest.mark.parametrize("listed", ["GPT-4O", "gpt-4o-2024-08-06"])
def test_a_model_is_allowed_by_any_of_its_names(listed: str) -> None:
    assert is_allowed("openai", "gpt-4o", (listed,), ())


def test_the_seed_prices_the_models_of_the_demo() -> None:
    assert Catalogue().rates_for("openai", "gpt-4o", NOW) is not None


@pytest.mark.parametrize("made", ["audio_out", "image_out"])
def test_sound_and_pictures_that_are_asked_for_are_not_held_for_as_text(made: Any) -> None:
    asked = limits(exposure=Exposure(TEXT_BUCKETS | {made}, made=frozenset({made})))
    assert isinstance(estimate(rates(input="1", output="2"), DOLLAR, asked), Unpriced)
    dear = estimate(rates(input="1", output="2", **{made: "60"}), DOLLAR, asked)
    assert isinstance(dear, Estimate)
    assert dear.cost_nano_usd == 1000 * 1000 + 100 * 60_000
