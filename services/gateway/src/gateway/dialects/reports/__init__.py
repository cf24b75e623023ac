"""What providers report of an answer, as disjoint buckets: one module a dialect, and the table that lists them.

openai, anthropic   a dialect's usage object
stated              the bill, of the providers that state it with the answer
counters            names and numbers that are fit to be kept, whatever a provider sends
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from farebox.pricing import Usage
from farebox.pricing.rates import STANDARD_GEOGRAPHIES, STANDARD_SPEEDS, STANDARD_TIERS
from gateway.dialects.reports import anthropic, openai
from gateway.dialects.reports.counters import bounded, fit, label, numbers_of, word
from gateway.dialects.reports.stated import stated_cost
from gateway.upstreams.directory import Dialect

__all__ = ["Report", "label", "numbers_of", "usage_of"]

STANDARD: Final[Mapping[str, frozenset[str]]] = {
    "service_tier": STANDARD_TIERS | {""},
    "speed": STANDARD_SPEEDS | {""},
    "geography": STANDARD_GEOGRAPHIES | {""},
}
"""What providers call the standard way of serving a call."""

Read = Callable[[Mapping[str, Any], str, str], dict[str, Any] | None]

_READ: Final[Mapping[Dialect, Read]] = {"openai": openai.counts, "anthropic": anthropic.counts}


class Report(NamedTuple):
    """What an answer says of itself, as it came: any JSON there is."""

    usage: object
    model: object = None
    service_tier: object = None
    provider: object = None


def usage_of(dialect: Dialect, provider: str, report: Report, model: str) -> Usage | None:
    """The usage reported of an answer of `model`; None if there is none or it makes no sense (then it is estimated)."""
    if not isinstance(report.usage, dict):
        return None
    try:
        counts = _READ[dialect](report.usage, model, provider)
        return None if counts is None else _usage(counts, report, provider)
    except (TypeError, ValidationError):
        return None


def _usage(counts: dict[str, Any], report: Report, provider: str) -> Usage:
    """With how it was served, and what it cost where the provider says so: the bill covers every counter."""
    usage: Mapping[str, Any] = report.usage  # type: ignore[assignment] # a dict, which `usage_of` has seen to
    calls, unknown = fit(counts["tool_calls"])
    unknown |= counts["unknown"]
    stated = stated_cost(provider, usage)
    tier = usage.get("service_tier") if report.service_tier is None else report.service_tier
    served = ("service_tier", tier), ("speed", usage.get("speed")), ("geography", usage.get("inference_geo"))
    for name, value in served:
        if value is None or (isinstance(value, str) and value in STANDARD[name]):
            continue
        counts[name] = word(value)
        if counts[name] is None:  # no word that an event could carry: it is shown as a counter
            unknown[name] = 1
    return Usage.model_validate(
        {
            **counts,
            "tool_calls": calls,
            "unknown": bounded(unknown) if stated is None else {},
            "stated_cost_nano_usd": stated,
        }
    )
