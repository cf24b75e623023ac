"""Writes `capacities.json` from LiteLLM's price list, as its wheel on PyPI carries it.

    pip download --no-deps litellm && python -m farebox.pricing.capacity_import litellm-*.whl

LiteLLM is MIT licensed (Copyright (c) 2023 Berri AI). Nothing of it is needed at run time.
"""

import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from farebox.pricing.capacity import plain

_MEMBER: Final = "litellm/model_prices_and_context_window_backup.json"
_MODES: Final = frozenset({"chat", "responses", "completion"})
_PROVIDERS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cerebras": "cerebras",
    "cohere_chat": "cohere",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "novita": "novita",
    "openai": "openai",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "together_ai": "together",
    "vertex_ai-anthropic_models": "google",
    "vertex_ai-language-models": "google",
    "xai": "x-ai",
    "zai": "zai",
}
"""LiteLLM's providers, and the seed's ids of the same."""

_LARGER: Final[Mapping[str, int]] = {
    "claude-sonnet-4-20250514": 1_000_000,
    "claude-sonnet-4-5": 1_000_000,
    "claude-sonnet-4-5-20250929": 1_000_000,
}
"""Windows that a beta header widens (Anthropic's `context-1m-2025-08-07`); the list has the narrower one."""


def main(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        listed: dict[str, dict[str, Any]] = json.loads(archive.read(_MEMBER))
    found: dict[str, dict[str, tuple[int | None, int | None]]] = {}
    for provider, name, context, output in _models(listed):
        known = found.setdefault(provider, {}).get(name, (None, None))
        found[provider][name] = (_greater(context, known[0]), _greater(output, known[1]))
    lines = [
        f"  {json.dumps(provider)}: {{\n"
        + ",\n".join(f"   {json.dumps(name)}: {json.dumps(models[name])}" for name in sorted(models))
        + "\n  }"
        for provider, models in sorted(found.items())
    ]
    source = f"{_MEMBER} of {wheel.name.rsplit('-', 3)[0]}"
    head = f' "source": {json.dumps(source)},\n "licence": "MIT, Copyright (c) 2023 Berri AI",\n "capacities": {{\n'
    target = Path(__file__).with_name("capacities.json")
    target.write_text("{\n" + head + ",\n".join(lines) + "\n }\n}\n", "utf-8")


def _models(listed: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, str, int | None, int | None]]:
    """(provider, plain name, context, longest answer); `max_input_tokens` leaves out what is kept for the answer."""
    for key, entry in listed.items():
        provider = _PROVIDERS.get(entry.get("litellm_provider", ""))
        if provider is None or entry.get("mode", "chat") not in _MODES:
            continue
        prefix = entry["litellm_provider"].partition("-")[0].removesuffix("_converse").removesuffix("_chat") + "/"
        name = plain(key.removeprefix(prefix))
        context, output = _count(entry.get("max_input_tokens")), _count(entry.get("max_output_tokens"))
        if context is not None or output is not None:
            yield provider, name, _greater(context, _LARGER.get(name)), output


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value > 0 else None


def _greater(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
