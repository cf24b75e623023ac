"""Which vendor's table a model goes by."""

import pytest

from gateway.vendors.directory import traits_of
from gateway.vendors.others import UNKNOWN


@pytest.mark.parametrize(
    ("provider", "model", "field"),
    [
        ("openai", "gpt-4o", "max_tokens"),
        ("openai", "o1", "max_completion_tokens"),
        ("openai", "gpt-5-mini", "max_completion_tokens"),
        ("openai", "ft:gpt-4o-2024-08-06:acme::x", "max_tokens"),
        ("azure", "o3", "max_completion_tokens"),
        ("deepseek", "deepseek-reasoner", "max_tokens"),
        ("in-house", "phi", "max_tokens"),
    ],
)
def test_a_limit_goes_under_the_field_that_the_model_takes(provider: str, model: str, field: str) -> None:
    assert traits_of(provider, model).limit_field == field


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("openai", "gpt-4o", "default"),
        ("anthropic", "claude-opus-5-5", "standard_only"),
        ("azure", "gpt-4o", None),
        ("google", "claude-opus-5-5", None),
        ("openrouter", "anthropic/claude-opus-5-5", None),
        ("in-house", "phi", None),
    ],
)
def test_the_standard_tier_is_asked_for_where_the_vendor_has_that_notion(
    provider: str, model: str, tier: str | None
) -> None:
    assert traits_of(provider, model).vendor.standard_tier == tier


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("openrouter", "openai/gpt-4o", 1_445),
        ("openrouter", "anthropic/claude-sonnet-4.5", 1_600),
        ("aws", "us.anthropic.claude-opus-4-1-20250805-v1:0", 1_600),
        ("google", "gemini-2.5-flash", 2_322),
        ("google", "gemini-3-pro-preview", 2_240),
        ("x-ai", "grok-4", 1_792),
        ("groq", "llama-4-scout", None),
    ],
)
def test_a_picture_costs_the_same_at_resellers(provider: str, model: str, tokens: int | None) -> None:
    assert traits_of(provider, model).image == tokens


def test_who_only_speaks_the_dialect_goes_by_no_vendors_table() -> None:
    assert traits_of("in-house", "gpt-4o").vendor is UNKNOWN
