"""What an answer's report of itself comes to: believed within bounds, else an estimate of what was seen. Pure."""

from typing import Final, NamedTuple

from farebox.pricing import Usage, UsageSource
from gateway.admission.verdict import Reservation
from gateway.attempts.event import Outcome
from gateway.dialects.name import is_name
from gateway.dialects.reports import Report, label, numbers_of, usage_of
from gateway.dialects.usage import estimated

TIMES_RESERVE: Final = 10
"""A call that used so many times what was held for it is believed: tools and compactions run on their own."""
CALLS_MAX: Final = 1_000
"""Calls of one tool in one answer, and the like, that are believed."""
COST_NANO_USD: Final = 10 * 10**9
"""A stated bill up to here is believed, whatever was held."""


class Seen(NamedTuple):
    """What passed of an answer. `is_final`: its report, if there is one, is of the whole of it."""

    output_tokens: int
    is_final: bool = True


def outcome_of(reservation: Reservation, report: Report, status: int, seen: Seen, *, believed_tokens: int) -> Outcome:
    """How an answered attempt ended. The numbers of a report that is not believed are kept."""
    call, provider = reservation.call, reservation.upstream.provider
    model = report.model if is_name(report.model) else call.model
    usage = usage_of(call.dialect, provider, report, model)
    numbers = None
    if usage is None or not is_believable(usage, reservation, believed_tokens):
        usage, numbers = _estimate(reservation, None, seen), numbers_of(report.usage)
    elif not seen.is_final:
        usage = _estimate(reservation, usage, seen)
    return Outcome(usage, model, status, served_by=label(report.provider), reported=numbers)


def is_believable(usage: Usage, reservation: Reservation, believed_tokens: int) -> bool:
    """Whether a call like this can have used so much. More is a defect of the provider's, and no bill."""
    held = reservation.estimate
    tokens_max = max(believed_tokens, TIMES_RESERVE * held.amount.tokens)
    cost_max = max(COST_NANO_USD, TIMES_RESERVE * held.cost_nano_usd)
    return (
        usage.total <= tokens_max
        and all(count <= (tokens_max if "tokens" in name else CALLS_MAX) for name, count in usage.tool_calls.items())
        and (usage.stated_cost_nano_usd or 0) <= cost_max
    )


def _estimate(reservation: Reservation, partial: Usage | None, seen: Seen) -> Usage:
    """What an answer used that does not say so, or not to its end: a guess, from what was seen.

    What the provider may have billed beyond it stays held as uncertain (docs/decisions/0014).
    """
    worst = reservation.estimate.usage
    if partial is None:
        guess = reservation.estimate.guess.usage
        return estimated(input_tokens=guess.input_total, output_tokens=seen.output_tokens, worst=worst)
    output = min(max(partial.output, seen.output_tokens), worst.output_total)
    running = {"output": output, "source": UsageSource.ESTIMATED, "stated_cost_nano_usd": None}
    return partial.model_copy(update=running)
