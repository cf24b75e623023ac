"""How much models take in and give out, as two catalogues know it."""

import pytest

from farebox.pricing.capacity import UNKNOWN, Capacity, capacity_of


@pytest.mark.parametrize(
    ("provider", "model", "capacity"),
    [
        ("openai", "gpt-4o", Capacity(128_000, 16_384)),
        ("openai", "GPT-4o-2024-05-13", Capacity(128_000, 4_096)),
        ("openai", "ft:gpt-4o-2024-08-06:acme::x", Capacity(128_000, 16_384)),
        ("anthropic", "claude-haiku-4-5-20251001", Capacity(200_000, 64_000)),
        ("openrouter", "anthropic/claude-haiku-4.5", Capacity(200_000, 64_000)),
        ("openai", "no-such-model", UNKNOWN),
        ("openai", "x" * 300, UNKNOWN),
    ],
)
def test_a_model_has_one_capacity_by_any_of_its_names(provider: str, model: str, capacity: Capacity) -> None:
    assert capacity_of(provider, model) == capacity


def test_of_two_windows_the_larger_bounds_a_bill() -> None:
    assert capacity_of("openai", "gpt-5").context == 400_000


def test_a_window_that_a_header_widens_counts_in_full() -> None:
    assert capacity_of("anthropic", "claude-sonnet-4-5").context == 1_000_000
