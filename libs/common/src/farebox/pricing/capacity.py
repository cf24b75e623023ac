"""How much a model takes in and gives out at most: its context window and its longest answer, in tokens.

Two open catalogues know them: the seed, which has the windows of most models, and LiteLLM's list, of which
`capacities.json` keeps what is needed (`python -m farebox.pricing.capacity_import` writes it anew). An operator's own
figures, for models that neither knows, are in the gateway's routes file.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

from farebox.pricing.seed import find_model

_KNOWN_KEPT: Final = 4096
_MAX_NAME: Final = 256

_RESOLD: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "google": "google",
    "mistralai": "mistral",
    "openai": "openai",
    "perplexity": "perplexity",
    "x-ai": "x-ai",
}
"""Makers as resellers write them before the name of a model (`openai/gpt-5`), and the makers' own ids."""


class Capacity(NamedTuple):
    """None is unknown. A provider refuses what is longer than `context`, and ends an answer at `output`."""

    context: int | None
    output: int | None


UNKNOWN: Final = Capacity(None, None)


@lru_cache(maxsize=_KNOWN_KEPT)
def capacity_of(provider: str, model: str) -> Capacity:
    """Of a model as it is asked for: by alias, by dated name, or at a reseller.

    Of two windows the larger counts, because it bounds a bill. Of two longest answers the one of the nearer name
    counts, because a provider refuses a limit above it.
    """
    if len(model) > _MAX_NAME:
        return UNKNOWN
    provider, model = provider.lower(), _base(model.lower())
    listed = [*_listed(provider, model)]
    seeded = find_model(provider, model)
    window = seeded.context_window if seeded is not None else None
    contexts = [each.context for each in (*listed, Capacity(window, None)) if each.context is not None]
    return Capacity(
        max(contexts, default=None),
        next((each.output for each in listed if each.output is not None), None),
    )


def _listed(provider: str, model: str) -> Iterator[Capacity]:
    """Entries of the list, the nearest name first."""
    seeded = find_model(provider, model)
    for name in (model, seeded.id.lower()) if seeded is not None else (model,):
        if found := _list().get(provider, {}).get(plain(name)):
            yield Capacity(*found)
    maker, _, name = model.partition("/")
    if maker in _RESOLD and provider != _RESOLD[maker]:
        yield from _listed(_RESOLD[maker], name.partition(":")[0])


def _base(model: str) -> str:
    """A fine-tuned model's (`ft:gpt-4o-mini:acme::x`) is what it was made from."""
    return model.split(":")[1] if model.startswith("ft:") else model


def plain(name: str) -> str:
    """Providers and resellers write versions with dots or with hyphens (claude-sonnet-4.5)."""
    return name.lower().replace(".", "-")


@cache
def _list() -> Mapping[str, Mapping[str, tuple[int | None, int | None]]]:
    """(context, output) by provider and plain name."""
    text = files("farebox.pricing").joinpath("capacities.json").read_text("utf-8")
    listed: Mapping[str, Mapping[str, tuple[int | None, int | None]]] = json.loads(text)["capacities"]
    return listed
