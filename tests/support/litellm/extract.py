"""Writes `prices.json` from LiteLLM's price list, as its wheel on PyPI carries it.

    pip download --no-deps litellm && python tests/support/litellm/extract.py litellm-*.whl

LiteLLM is MIT licensed (Copyright (c) 2023 Berri AI). Nothing of it is needed to run or to test Farebox.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

_MEMBER: Final = "litellm/model_prices_and_context_window_backup.json"

MODELS: Final = {
    "openai": (
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-4o-mini",
        "gpt-4o-search-preview",
        "gpt-4o-mini-search-preview",
        "gpt-audio",
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-5",
        "gpt-5-mini",
        "gpt-5-nano",
        "gpt-5-chat-latest",
        "gpt-5-search-api",
        "gpt-5.1",
        "gpt-5.2",
        "gpt-5.4",
        "gpt-5.5",
        "gpt-6-sol",
        "o3",
        "o4-mini",
        "ft:gpt-4o-2024-08-06",
        "ft:gpt-4.1-2025-04-14",
    ),
    "anthropic": (
        "claude-haiku-4-5-20251001",
        "claude-sonnet-4-5",
        "claude-sonnet-4-6",
        "claude-sonnet-5-5",
        "claude-opus-4-6",
        "claude-opus-4-8",
        "claude-opus-5-5",
    ),
    "google": (
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
        "gemini-3.1-pro-preview",
        "gemini-flash-latest",
    ),
    "mistral": ("mistral-large-latest", "mistral-medium-latest", "mistral-small-latest", "codestral-latest"),
    "deepseek": ("deepseek-chat", "deepseek-reasoner"),
    "x-ai": ("grok-4.5", "grok-code-fast-1"),
    "perplexity": ("sonar", "sonar-pro", "sonar-deep-research"),
}
"""The models compared, by the seed's id of their provider."""

_PREFIX: Final = {
    "google": "gemini/",
    "mistral": "mistral/",
    "deepseek": "deepseek/",
    "x-ai": "xai/",
    "perplexity": "perplexity/",
}
_NAMED: Final = (
    "provider_specific_entry",
    "search_context_cost_per_query",
    "litellm_provider",
    "deprecation_date",
    "source",
)


def main(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        listed: dict[str, dict[str, Any]] = json.loads(archive.read(_MEMBER), parse_float=str)
    models = {
        f"{provider}/{model}": {
            key: value
            for key, value in sorted(listed[_PREFIX.get(provider, "") + model].items())
            if "_cost" in key or key in _NAMED
        }
        for provider, names in MODELS.items()
        for model in names
    }
    prices = {
        "source": f"{_MEMBER} of {wheel.name.rsplit('-', 3)[0]}",
        "licence": "MIT, Copyright (c) 2023 Berri AI",
        "models": models,
    }
    Path(__file__).with_name("prices.json").write_text(json.dumps(prices, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
