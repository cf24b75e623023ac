"""The figures that the reference profiles promise."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from farebox.money import NANO, convert
from farebox.pricing import Catalogue, Charge, PriceRow, Usage, worst_case

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KRW_PER_USD = Decimal(1_300)


def row(provider: str, model: str, input_usd: str, output_usd: str) -> PriceRow:
    return PriceRow(
        id=f"{provider}/{model}",
        provider=provider,
        model=model,
        effective_from=datetime(2026, 1, 1, tzinfo=UTC),
        rates={"input": Decimal(input_usd), "output": Decimal(output_usd)},
        source="profile",
    )


PRICES = Catalogue(
    [
        row("match", "three-fifteen", "3", "15"),
        row("google", "gemini-2.0-flash", "0.075", "0.30"),
        row("deepseek", "deepseek-chat", "0.14", "0.28"),
    ]
)


def cost(provider: str, model: str, usage: Usage) -> int:
    charge = PRICES.price(provider, model, usage, NOW)
    assert isinstance(charge, Charge), charge
    return charge.cost_nano_usd


@pytest.mark.parametrize(
    ("usage", "krw"),
    [
        (Usage(input=1_000), "3.90"),
        (Usage(output=1_000), "19.50"),
        (Usage(input=500), "1.95"),
        (Usage(output=300), "5.85"),
        (Usage(input=500, output=300), "7.80"),
    ],
)
def test_match_daily_bills_in_won(usage: Usage, krw: str) -> None:
    assert convert(cost("match", "three-fifteen", usage), KRW_PER_USD) == Decimal(krw) * NANO


def test_match_daily_fits_6410_calls_in_a_day() -> None:
    rates = PRICES.rates_for("match", "three-fifteen", NOW)
    assert rates is not None
    reserve = worst_case(rates, 500, 300)
    assert reserve == cost("match", "three-fifteen", Usage(input=500, output=300))
    a_call = convert(reserve, KRW_PER_USD)
    assert divmod(50_000 * NANO, a_call) == (6_410, 2 * NANO)


@pytest.mark.parametrize(
    ("provider", "model", "usd"),
    [
        ("openai", "gpt-4o", "0.00625"),
        ("openai", "gpt-4o-mini", "0.000375"),
        ("anthropic", "claude-3-5-sonnet", "0.009"),
        ("anthropic", "claude-3-5-haiku", "0.0024"),
        ("google", "gemini-2.0-flash", "0.0001875"),
        ("deepseek", "deepseek-chat", "0.00021"),
    ],
)
def test_pay_per_use_bills_500_and_500_tokens(provider: str, model: str, usd: str) -> None:
    assert cost(provider, model, Usage(input=500, output=500)) == Decimal(usd) * NANO


def test_pho_chat_converts_to_dong() -> None:
    assert convert(cost("openai", "gpt-4o", Usage(input=500, output=500)), Decimal(24_167)) == 151_043_750_000
