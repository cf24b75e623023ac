"""What usage adds up to, as the API shows it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from farebox.money import decimal_text, divide_half_even
from metering.span import Span

GROUPS_MAX: Final = 1_000
"""Groups in one answer: those that cost most. `more_groups` says whether there are others."""

By: TypeAlias = Literal["model", "provider", "feature", "org", "team", "user", "key", "session", "day"]


class Sums(NamedTuple):
    """One group's usage in one currency. Columns of `usage_sums` and `usage_by_session`."""

    group_key: str | None
    currency: str
    attempts: int
    requests: int
    succeeded: int
    cache_hits: int
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    billed_nano: int


def summary(span: Span, total: Iterable[Sums], unpriced: int) -> dict[str, object]:
    """The usage of a span. `unpriced` attempts wait in suspense and are in no sum."""
    return {"from": span.start, "to": span.end, **_shown(total), "unpriced_attempts": unpriced}


def groups(by: By, some: Iterable[Sums]) -> dict[str, object]:
    """Usage by one dimension, what costs most first; days in their order."""
    grouped: Mapping[str | None, list[Sums]] = defaultdict(list)
    for sums in some:
        grouped[sums.group_key].append(sums)
    keys = sorted(grouped, key=(lambda key: key or "") if by == "day" else (lambda key: -_cost(grouped[key])))
    shown = [{by: key, **_shown(grouped[key])} for key in keys[:GROUPS_MAX]]
    return {"by": by, "groups": shown, "more_groups": len(keys) > GROUPS_MAX}


def _shown(parts: Iterable[Sums]) -> dict[str, Any]:
    parts = list(parts)
    attempts = sum(part.attempts for part in parts)
    tokens_in, tokens_out = sum(part.input_tokens for part in parts), sum(part.output_tokens for part in parts)
    return {
        "requests": sum(part.requests for part in parts),
        "attempts": attempts,
        "tokens": tokens_in + tokens_out,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "cost_usd": decimal_text(_cost(parts)),
        "billed": {part.currency: decimal_text(part.billed_nano) for part in sorted(parts, key=_currency)},
        "success_rate": _percent(sum(part.succeeded for part in parts), attempts),
        "cache_hit_rate": _percent(sum(part.cache_hits for part in parts), attempts),
    }


def _cost(parts: Iterable[Sums]) -> int:
    return sum(part.cost_nano_usd for part in parts)


def _currency(part: Sums) -> str:
    return part.currency


def _percent(part: int, whole: int) -> str | None:
    """Of attempts, with two decimals; null where there were none."""
    return str(Decimal(divide_half_even(part * 10_000, whole)).scaleb(-2)) if whole else None
