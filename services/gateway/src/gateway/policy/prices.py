"""The prices in force, as the gateway needs them: by upstream, kept for a moment, renewed by `price.catalogue`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from farebox.events import CatalogueAsOf, PriceListed, Undecodable, decode
from farebox.kafka import Record
from farebox.pricing import Catalogue, Rates
from gateway import metrics
from gateway.policy.catalogue_age import CatalogueAge
from gateway.policy.unpriced import UnpricedModels

log = structlog.get_logger()

KEPT_FOR: Final = timedelta(minutes=1)
"""Rates are kept for instants so long before and after the one they were looked up for, where they are the same."""
KEPT_MAX: Final = 10_000
OLDER: Final = "older"
"""Why a record is skipped that a stalled producer sent late."""


class _Heard(NamedTuple):
    """What was heard last of a model: the revision, None from an older metering, and the ids of its rows."""

    revision: int | None
    rows: frozenset[str]

    def is_newer_than(self, known: "_Heard") -> bool:
        """Also where both are the same. Rows are only ever added, so that they tell where revisions do not."""
        if self.revision is not None and known.revision is not None:
            return self.revision >= known.revision
        return self.rows >= known.rows


class _Kept(NamedTuple):
    """Rates, and the instants [since, until) for which they are in force."""

    since: datetime
    until: datetime
    rates: Rates | None


class Prices:
    """The seed with the overrides heard so far, whatever order they came in. `aliases`: see `Catalogue`.

    `unpriced` is told of calls that were refused because none of them prices their model.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.unpriced = UnpricedModels()
        self._catalogue = catalogue
        self._heard: dict[str, _Heard] = {}
        self._kept: dict[tuple[str, str, str | None], _Kept] = {}
        self._age: CatalogueAge | None = None

    def rates(self, provider: str, model: str, at: datetime, org: str | None) -> Rates | None:
        """The rates in force at an instant; None if there is no price."""
        key = (provider, model, org)
        kept = self._kept.get(key)
        if kept is not None and kept.since <= at < kept.until:
            return kept.rates
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        turns = self._catalogue.turns(provider, model, at - KEPT_FOR, at + KEPT_FOR)
        since = max(turn for turn in turns if turn <= at)
        until = min((turn for turn in turns if turn > at), default=at + KEPT_FOR)
        self._kept[key] = kept = _Kept(since, until, self._catalogue.rates_for(provider, model, at, org))
        return kept.rates

    def fault(self, at: datetime) -> str | None:
        """Why these prices are not fit for a call of that instant under a hard budget; None if they are, or if metering
        never said how old they are."""
        return None if self._age is None else self._age.fault(at)

    def are_ahead_of(self, at: datetime) -> bool:
        """Whether a clock that shows this instant must be wrong, whatever else is known."""
        return self._age is not None and self._age.is_ahead_of(at)

    def unready(self, at: datetime) -> list[str]:
        fault = self.fault(at)
        return [] if fault is None else [f"prices: {fault}"]

    def models(self, provider: str, org: str | None) -> tuple[str, ...]:
        """Models of a provider that have prices."""
        return self._catalogue.models(provider, org)

    async def learn(self, records: Sequence[Record]) -> None:
        """Take records of `price.catalogue`. One that makes no sense is counted, and what was known stays."""
        for record in records:
            if record.value is None:
                self._delete(record)
                continue
            try:
                event = decode(headers=record.headers, value=record.value).event
            except Undecodable as error:
                _skip(record, error.reason)
                continue
            match event:
                case PriceListed():
                    self._replace(record, event)
                case CatalogueAsOf():
                    self._note_age(record, event)
                case _:
                    _skip(record, "unexpected_type")
        self._kept.clear()

    def _replace(self, record: Record, event: PriceListed) -> None:
        heard = _Heard(event.revision, frozenset(row.id for row in event.rows))
        model = f"{event.provider}/{event.model}".lower()
        known = self._heard.get(model)
        if known is not None and not heard.is_newer_than(known):
            _skip(record, OLDER)
            return
        self._heard[model] = heard
        self._catalogue.replace(event.provider, event.model, event.rows)

    def _note_age(self, record: Record, event: CatalogueAsOf) -> None:
        known = self._age
        # A lower revision with a later instant is no late record: metering's database has begun anew.
        if known is not None and event.revision < known.revision and event.as_of <= known.as_of:
            _skip(record, OLDER)
            return
        self._age = CatalogueAge(event.revision, event.as_of, timedelta(seconds=event.lead_s))
        metrics.CATALOGUE_AS_OF.set(event.as_of.timestamp())

    def _delete(self, record: Record) -> None:
        """A tombstone. One without a revision is somebody's by hand: it deletes only what has no revision either."""
        model = (record.key or b"").decode(errors="replace").lower()
        heard = _Heard(record.deleted_as_of, frozenset())
        known = self._heard.get(model, _NOTHING)
        if (heard.revision or 0) < (known.revision or 0):
            _skip(record, OLDER)
            return
        self._heard[model] = heard
        provider, _, name = model.partition("/")
        self._catalogue.replace(provider, name, ())


def _skip(record: Record, reason: str) -> None:
    metrics.CATALOGUE_SKIPPED.labels(record.topic, reason).inc()
    log.error("price_record_skipped", offset=record.offset, reason=reason)


_NOTHING: Final = _Heard(None, frozenset())
