"""Which vendor's table a model at a provider goes by. A new vendor is a module and a line here."""

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from gateway.vendors.anthropic import ANTHROPIC
from gateway.vendors.anthropic import RESOLD as RESOLD_ANTHROPIC
from gateway.vendors.google import GOOGLE
from gateway.vendors.openai import AZURE, OPENAI
from gateway.vendors.openai import RESOLD as RESOLD_OPENAI
from gateway.vendors.others import MISTRAL, PERPLEXITY, UNKNOWN, XAI
from gateway.vendors.vendor import Traits, Vendor, traits

_VENDORS: Final[tuple[tuple[str, str, Vendor], ...]] = (
    ("anthropic", "*", ANTHROPIC),
    ("azure", "*claude*", RESOLD_ANTHROPIC),
    ("azure", "*", AZURE),
    ("google", "*claude*", RESOLD_ANTHROPIC),
    ("google", "gemini-*", GOOGLE),
    ("mistral", "*", MISTRAL),
    ("openai", "*", OPENAI),
    ("openrouter", "openai/*", RESOLD_OPENAI),
    ("openrouter", "google/gemini-*", GOOGLE),
    ("perplexity", "*", PERPLEXITY),
    ("x-ai", "*", XAI),
    ("*", "*claude*", RESOLD_ANTHROPIC),
)
"""(provider in the price catalogue, pattern of its models, table); the first that fits counts."""


@lru_cache(maxsize=4096)
def traits_of(provider: str, model: str) -> Traits:
    """Of the model as it is asked for at the provider."""
    return traits(vendor_of(provider.lower(), model.lower()), model)


def vendor_of(provider: str, model: str) -> Vendor:
    """By names in lower case."""
    return next(
        (vendor for name, pattern, vendor in _VENDORS if fnmatchcase(provider, name) and fnmatchcase(model, pattern)),
        UNKNOWN,
    )
