"""What an attempt is charged: the event and the prices in, a ledger entry or the reason for suspense out."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from farebox.events import RequestCompleted, SuspenseReason
from farebox.money import BadAmount, UnknownCurrency, convert, require_currency
from farebox.pricing import Catalogue, Rates, Unpriced, UnpricedReason, price_known
from metering.attempt import Attempt
from metering.tariff import Tariff, tariff_of

_REASON: Final = {
    UnpricedReason.UNKNOWN_MODEL: SuspenseReason.UNKNOWN_MODEL,
    UnpricedReason.NO_PRICE_AT_TIME: SuspenseReason.NO_PRICE_AT_TIME,
    UnpricedReason.NO_RATE_FOR_UNIT: SuspenseReason.NO_RATE_FOR_UNIT,
    UnpricedReason.COST_OUT_OF_RANGE: SuspenseReason.COST_OUT_OF_RANGE,
}


class Entry(NamedTuple):
    """A charge on its way into the ledger: cost in nano-USD, billed in nano-units of the account's currency.

    `left` are the counts of units that have no rate and wait beside it.
    """

    attempt: Attempt
    cost_nano_usd: int
    billed_nano: int
    tariff: Tariff
    left: Mapping[str, int] = MappingProxyType({})


class Suspended(NamedTuple):
    """An attempt that waits for its price. `detail` names the model, unit or currency, for people."""

    attempt: Attempt
    reason: SuspenseReason
    detail: str


class Charged(NamedTuple):
    """A batch of attempts, each either priced or suspended."""

    entries: list[Entry]
    suspended: list[Suspended]


class PriceBook:
    """The catalogue at one revision of the overrides."""

    def __init__(self, catalogue: Catalogue, revision: int) -> None:
        self.catalogue = catalogue
        self.revision = revision
        # By identity, each with its rates so that the identity stays taken: they compare by it, and are few.
        self._tariffs: dict[int, tuple[Rates, Tariff]] = {}

    def tariff(self, rates: Rates) -> Tariff:
        """The tariff of rates from this book's catalogue."""
        known = self._tariffs.get(id(rates))
        if known is None:
            known = self._tariffs[id(rates)] = rates, tariff_of(rates)
        return known[1]


def charge_all(book: PriceBook, attempts: Iterable[Attempt]) -> Charged:
    """Charge each attempt."""
    charged = Charged([], [])
    for attempt in attempts:
        outcome = charge(book, attempt)
        if isinstance(outcome, Entry):
            charged.entries.append(outcome)
        else:
            charged.suspended.append(outcome)
    return charged


def charge(book: PriceBook, attempt: Attempt) -> Entry | Suspended:
    """Price one attempt at the instant it started and bill it at the rate that was stamped on it."""
    event = attempt.event
    rates = rates_in(book.catalogue, event)
    if rates is None:  # the catalogue knows whether it is the model or the instant
        unpriced = book.catalogue.price(*priced_model(event), event.usage, event.started_at, event.principal.org)
        assert isinstance(unpriced, Unpriced)  # noqa: S101 - without rates nothing is priced
        return Suspended(attempt, _REASON[unpriced.reason], unpriced.detail)
    priced = price_known(rates, event.usage)
    if isinstance(priced, Unpriced):
        return Suspended(attempt, _REASON[priced.reason], priced.detail)
    known, left = priced
    billing = event.billing
    try:
        require_currency(billing.currency)
        billed_nano = convert(known.cost_nano_usd, billing.fx_rate)
    except UnknownCurrency as error:
        return Suspended(attempt, SuspenseReason.UNKNOWN_CURRENCY, str(error))
    except BadAmount as error:
        return Suspended(attempt, SuspenseReason.COST_OUT_OF_RANGE, str(error))
    return Entry(attempt, known.cost_nano_usd, billed_nano, book.tariff(rates), left)


def priced_model(event: RequestCompleted) -> tuple[str, str]:
    """Provider and model whose rates apply to an attempt."""
    model = event.served_model if event.priced_as is None else event.priced_as.model
    return event.price_provider or event.provider, model


def rates_in(catalogue: Catalogue, event: RequestCompleted) -> Rates | None:
    """The rates of an attempt, at the instant it started."""
    provider, model = priced_model(event)
    return catalogue.rates_for(provider, model, event.started_at, event.principal.org)
