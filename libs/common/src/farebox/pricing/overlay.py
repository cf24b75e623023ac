"""Our own corrections of the seed: `overlay.json`, whose rows and supplements each name their source and its date.

A row takes the place of what the seed says of a model, or lists one that the seed does not have. An alias says which of
the seed's models a name means. A supplement adds what the seed does not list to whatever it says of some models: tools,
and what a speed or a geography costs. `seed` names the release of genai-prices that this was compared with; a test
refuses another, so that nothing here outlives the fault that it mends.
"""

from functools import cache
from importlib.resources import files
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from farebox.pricing.layer import Layer
from farebox.pricing.names import covers
from farebox.pricing.row import Multiplier, Name, PriceRow, Usd

_FILE: Final = "overlay.json"


class Supplement(BaseModel):
    """What is added to models of a provider: `tools` in USD a thousand calls, the others as in a price row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Name
    models: Annotated[tuple[Name, ...], Field(min_length=1)]
    tools: dict[Name, Usd] = Field(default_factory=dict)
    speeds: dict[Name, Multiplier] = Field(default_factory=dict)
    geographies: dict[Name, Multiplier] = Field(default_factory=dict)
    source: Name

    def applies_to(self, provider: str, model: str) -> bool:
        return provider == self.provider and any(covers(pattern, model) for pattern in self.models)


class Alias(BaseModel):
    """A name of a provider's that means a model which the seed lists under another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Name
    model: Name
    means: Name
    source: Name


class Overlay(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Name
    aliases: tuple[Alias, ...]
    rows: tuple[PriceRow, ...]
    supplements: tuple[Supplement, ...]


@cache
def overlay() -> Overlay:
    """As committed. Raises pydantic's ValidationError."""
    return Overlay.model_validate_json(files(__package__).joinpath(_FILE).read_bytes())


@cache
def meanings() -> dict[tuple[str, str], str]:
    """What each alias means, by provider and model."""
    return {(alias.provider, alias.model): alias.means for alias in overlay().aliases}


@cache
def layer() -> Layer:
    """The rows, compiled once."""
    return Layer(overlay().rows)
