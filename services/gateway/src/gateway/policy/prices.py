"""The prices in force, as the gateway needs them: by upstream, kept for a moment, renewed by `price.catalogue`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from farebox.events import PriceListed, Undecodable, decode
from farebox.kafka import Record
from farebox.pricing import Catalogue, Rates
from gateway import metrics

log = structlog.get_logger()

KEPT_FOR: Final = timedelta(seconds=1)
"""Rates are looked up again after so long, because they begin and end at instants."""
KEPT_MAX: Final = 10_000


class Prices:
    """The seed with the overrides heard so far. `aliases`: see `Catalogue`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kept: dict[tuple[str, str, str | None], tuple[datetime, Rates | None]] = {}

    def rates(self, provider: str, model: str, at: datetime, org: str | None) -> Rates | None:
        """The rates in force about `at`; None if there is no price."""
        key = (provider, model, org)
        kept = self._kept.get(key)
        if kept is not None and kept[0] >= at:
            return kept[1]
        found = self._catalogue.rates_for(provider, model, at, org)
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        until = at + KEPT_FOR
        if found is not None and found.effective_to is not None:
            until = min(until, found.effective_to - timedelta(microseconds=1))
        self._kept[key] = until, found
        return found

    def models(self, provider: str, org: str | None) -> tuple[str, ...]:
        """Models of a provider that have prices."""
        return self._catalogue.models(provider, org)

    async def learn(self, records: Sequence[Record]) -> None:
        """Take records of `price.catalogue`. One that makes no sense is counted, and what was known stays."""
        for record in records:
            try:
                event = decode(headers=record.headers, value=record.value).event
            except Undecodable as error:
                self._skip(record, error.reason)
                continue
            if isinstance(event, PriceListed):
                self._catalogue.replace(event.provider, event.model, event.rows)
            else:
                self._skip(record, "unexpected_type")
        self._kept.clear()

    def _skip(self, record: Record, reason: str) -> None:
        if reason == "no_value" and record.key:
            provider, _, model = record.key.decode(errors="replace").partition("/")
            self._catalogue.replace(provider, model, ())
            return
        metrics.CATALOGUE_SKIPPED.labels(record.topic, reason).inc()
        log.error("price_record_skipped", offset=record.offset, reason=reason)
