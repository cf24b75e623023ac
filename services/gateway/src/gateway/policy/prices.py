"""The prices in force, as the gateway needs them: by upstream, kept for a moment, renewed by `price.catalogue`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from farebox.events import PriceListed, Undecodable, decode
from farebox.kafka import Record
from farebox.pricing import Catalogue, Rates
from gateway import metrics

log = structlog.get_logger()

KEPT_FOR: Final = timedelta(seconds=1)
"""Rates are looked up again after so long, because they begin and end at instants."""
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


class Prices:
    """The seed with the overrides heard so far, whatever order they came in. `aliases`: see `Catalogue`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._heard: dict[str, _Heard] = {}
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
            if record.value is None:
                self._delete(record)
                continue
            try:
                event = decode(headers=record.headers, value=record.value).event
            except Undecodable as error:
                _skip(record, error.reason)
                continue
            if isinstance(event, PriceListed):
                self._replace(record, event)
            else:
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
