"""The bill, of the providers that state it with the answer: what they say they charged, to the nano-USD."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from farebox.money import NANO, round_half_even

TICKS_PER_USD: Final = 10**10


def stated_cost(provider: str, usage: Mapping[str, Any]) -> int | None:
    """Nano-USD; None for providers that do not state it, and where what they state is no amount."""
    read = _STATED.get(provider.lower())
    cost = read(usage) if read is not None else None
    return None if cost is None else round_half_even(cost * NANO)


def _openrouter(usage: Mapping[str, Any]) -> Decimal | None:
    """Credits, which are US dollars. With a key of one's own the provider behind bills its part to that key."""
    cost, details = _amount(usage.get("cost")), usage.get("cost_details")
    if cost is None or usage.get("is_byok") is not True or not isinstance(details, dict):
        return cost
    return cost + (_amount(details.get("upstream_inference_cost")) or 0)


def _xai(usage: Mapping[str, Any]) -> Decimal | None:
    ticks = _amount(usage.get("cost_in_usd_ticks"))
    return None if ticks is None else ticks / TICKS_PER_USD


def _perplexity(usage: Mapping[str, Any]) -> Decimal | None:
    cost = usage.get("cost")
    return _amount(cost.get("total_cost")) if isinstance(cost, dict) else None


def _amount(value: object) -> Decimal | None:
    """A JSON number as it was written, as far as it went through a double; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return Decimal(repr(value))


_STATED: Final[Mapping[str, Callable[[Mapping[str, Any]], Decimal | None]]] = {
    "openrouter": _openrouter,
    "x-ai": _xai,
    "xai": _xai,
    "perplexity": _perplexity,
}
