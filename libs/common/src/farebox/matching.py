"""Which names mean the same model, and whether a call counts against a narrowed budget. Pure.

Gateway and budget ask the same functions, so that what a call held and what it is posted to cannot differ by an alias,
a date or the case of a name.
"""

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, NamedTuple

from farebox.pricing import seed

_CACHED: Final = 16_384


class Narrowing(NamedTuple):
    """What a budget is narrowed to; None is any."""

    provider: str | None = None
    model: str | None = None
    feature: str | None = None
    session: str | None = None


EVERYTHING: Final = Narrowing()


class Admitted(NamedTuple):
    """The attributes a call was admitted under. `upstream` is the name in events, `provider` the catalogue's id, and
    `model` the one that was asked for, whatever served it in the end."""

    upstream: str
    provider: str
    model: str
    feature: str | None = None
    session: str | None = None


def applies(narrowed: Narrowing, call: Admitted) -> bool:
    """Whether the call counts against a budget that is narrowed so."""
    return narrowed == EVERYTHING or (
        narrowed.feature in {None, call.feature}
        and narrowed.session in {None, call.session}
        and (narrowed.provider is None or is_same_provider(narrowed.provider, call))
        and (narrowed.model is None or is_same_model(call.provider, narrowed.model, call.model))
    )


def is_same_provider(name: str, call: Admitted) -> bool:
    """Whether the name is the upstream's or the catalogue's, in any case."""
    return name.casefold() in {call.upstream.casefold(), call.provider.casefold()}


@lru_cache(maxsize=_CACHED)
def is_same_model(provider: str, one: str, other: str) -> bool:
    """Whether two names mean one model at a provider: the same but for case, or the same entry of the catalogue."""
    if one.casefold() == other.casefold():
        return True
    found = identity(provider, one)
    return found is not None and found == identity(provider, other)


def identity(provider: str, model: str) -> str | None:
    """The catalogue's id of a model by any of its names; None for one that the catalogue does not know."""
    found = seed.find_model(provider.lower(), model.lower())
    return None if found is None else found.id


@lru_cache(maxsize=_CACHED)
def is_listed(provider: str, model: str, patterns: tuple[str, ...]) -> bool:
    """Whether a list names the model, as a name or a pattern with `*`, by any of the model's names."""
    names = {model.casefold(), (identity(provider, model) or model).casefold()}
    return any(
        any(fnmatchcase(name, pattern.casefold()) for name in names)
        or ("*" not in pattern and is_same_model(provider, pattern, model))
        for pattern in patterns
    )


def is_allowed(provider: str, model: str, allowed: tuple[str, ...] | None, blocked: tuple[str, ...]) -> bool:
    """What is blocked is blocked even if allowed; no list of allowed models allows all."""
    if blocked and is_listed(provider, model, blocked):
        return False
    return allowed is None or is_listed(provider, model, allowed)
