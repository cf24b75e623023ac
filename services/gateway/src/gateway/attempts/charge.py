"""What an attempt is charged at this gateway: outcome and rates in, amount and what is uncertain of it out. Pure."""

from decimal import Decimal
from typing import NamedTuple

from farebox.money import BadAmount, convert
from farebox.pricing import Rates, Unpriced, Usage, UsageSource, price_known
from farebox.pricing.rates import TOOL
from gateway.admission.verdict import Reservation
from gateway.attempts.event import Outcome, Reprice
from gateway.shares.amount import NOTHING, Amount


class Charge(NamedTuple):
    """What it comes to in every measure, and what beside it the provider may have billed.

    `outcome` is the one that is told: where its usage had no price, it has been estimated.
    """

    outcome: Outcome
    amount: Amount
    uncertain: Amount


def charged(reservation: Reservation, outcome: Outcome, served: Rates | None) -> Charge:
    """Priced as metering will; `served` are the rates of the model that answered, None if it has no price."""
    outcome, rates = _priced_as(reservation, outcome, served)
    fx_rate = reservation.key_policy.settings.fx_rate
    for usage in (outcome.usage, _plainly_served(outcome.usage)):
        found = _known(rates, fx_rate, usage)
        if found is not None:
            amount, is_whole = found
            told = outcome if usage is outcome.usage else _estimated(outcome, usage)
            return Charge(told, amount, _uncertain(reservation, told.usage, amount, is_whole=is_whole))
    guess = reservation.estimate.guess
    told = _estimated(outcome, guess.usage)
    return Charge(told, guess.amount, _uncertain(reservation, told.usage, guess.amount))


def _priced_as(reservation: Reservation, outcome: Outcome, served: Rates | None) -> tuple[Outcome, Rates]:
    """At the served model's rates; at those of the model that was asked for where the other has none, or lower ones and
    nobody said that it may serve."""
    asked, call, model = reservation.rates, reservation.call, outcome.served_model
    if model == call.model:
        return outcome, asked
    if served is None:
        return outcome._replace(priced_as=Reprice(call.model, "unknown_model")), asked
    if _costs_less(served, asked, outcome.usage) and not reservation.upstream.may_serve(model):
        return outcome._replace(priced_as=Reprice(call.model, "cheaper_model")), asked
    return outcome, served


def _costs_less(served: Rates, asked: Rates, usage: Usage) -> bool:
    """By what has a price of it: a counter without one does not let a cheaper model in."""
    one, other = _cost_of_known(served, usage), _cost_of_known(asked, usage)
    return one is not None and other is not None and one < other


def _cost_of_known(rates: Rates, usage: Usage) -> int | None:
    for each in (usage, _plainly_served(usage)):
        found = price_known(rates, each)
        if not isinstance(found, Unpriced):
            return found[0].cost_nano_usd
    return None


def _known(rates: Rates, fx_rate: Decimal, usage: Usage) -> tuple[Amount, bool] | None:
    """The amount, and whether that is all: a tool or a bucket without a rate is billed on top, as far as anybody
    knows; a counter that nobody knows need not be."""
    found = price_known(rates, usage)
    if isinstance(found, Unpriced):
        return None
    charge, left = found
    try:
        money = convert(charge.cost_nano_usd, fx_rate)
    except BadAmount:
        return None
    unknown = {f"{TOOL}{name}" for name in usage.unknown}
    return Amount(money, usage.requests, usage.total), left.keys() <= unknown


def _plainly_served(usage: Usage) -> Usage:
    """The same counts, of a call served at the standard tier and speed, anywhere."""
    if usage.service_tier is usage.speed is usage.geography is None:
        return usage
    return usage.model_copy(update={"service_tier": None, "speed": None, "geography": None})


def _estimated(outcome: Outcome, usage: Usage) -> Outcome:
    """Charged as `usage`; what was reported is kept."""
    told = outcome.usage
    source = told.source if told.source is not UsageSource.REPORTED else UsageSource.ESTIMATED
    counts = told.model_dump(exclude={"source", "tool_calls", "unknown"}, exclude_defaults=True)
    reported = outcome.reported or {name: str(count)[:64] for name, count in counts.items()}
    return outcome._replace(usage=usage.model_copy(update={"source": source}), reported=reported or None)


def _uncertain(reservation: Reservation, usage: Usage, amount: Amount, *, is_whole: bool = True) -> Amount:
    """Where the provider did not say what was used, or something that was used has no price: all of the reserve."""
    if usage.source is UsageSource.REPORTED and is_whole:
        return NOTHING
    return reservation.estimate.amount.beyond(amount)._replace(requests=0)
