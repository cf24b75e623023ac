"""The core's nouns as columns: one list for each array parameter of a statement, in its order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from farebox.events import RequestCompleted
from metering.attempt import Attempt
from metering.charge import Entry, Suspended
from metering.rollup import Counts, Dimension, dimension_id

Columns: TypeAlias = Sequence[Sequence[Any]]

_EXACT: int = 2
"""How many of the measures, the last ones, are sums of money: `numeric` in the table, text on the way there."""


def charges(entries: Sequence[Entry]) -> Columns:
    """For `ledger_add_charges`."""
    events = [entry.attempt.event for entry in entries]
    principals = [event.principal for event in events]
    terms = [event.billing for event in events]
    leases = [event.lease for event in events]
    return (
        [event.attempt_id for event in events],
        [event.request_id for event in events],
        [event.started_at for event in events],
        [entry.billed_nano for entry in entries],
        [billing.currency for billing in terms],
        [entry.cost_nano_usd for entry in entries],
        [str(billing.fx_rate) for billing in terms],
        [billing.fx_source for billing in terms],
        [billing.fx_date for billing in terms],
        [entry.price_version for entry in entries],
        [entry.tariff.tariff_id for entry in entries],
        [who.org for who in principals],
        [who.team for who in principals],
        [who.user for who in principals],
        [who.key for who in principals],
        [event.session for event in events],
        [event.feature for event in events],
        [event.provider for event in events],
        [event.served_model for event in events],
        [event.usage.source.value for event in events],
        [None if lease is None else lease.lease_id for lease in leases],
        [None if lease is None else lease.reserve_nano for lease in leases],
        [entry.attempt.received for entry in entries],
    )


def suspended(suspended: Sequence[Suspended]) -> Columns:
    """For `suspense_add`."""
    events = [one.attempt.event for one in suspended]
    return (
        [event.attempt_id for event in events],
        [event.request_id for event in events],
        [one.reason.value for one in suspended],
        [one.detail for one in suspended],
        [event.price_provider or event.provider for event in events],
        [event.served_model for event in events],
        [event.principal.org for event in events],
        [event.principal.team for event in events],
        [event.principal.user for event in events],
        [event.principal.key for event in events],
        [event.started_at for event in events],
        [one.attempt.received for one in suspended],
    )


def attempt_of(received: str) -> Attempt:
    """An attempt from its JSON as received. Raises ValueError if it is none."""
    return Attempt(RequestCompleted.model_validate_json(received), received)


def dimensions(some: Sequence[Dimension]) -> Columns:
    """For `dimensions_add`."""
    return ([dimension_id(dimension) for dimension in some], *_columns(some, len(Dimension._fields)))


def by_time(sums: Mapping[tuple[int, Dimension], Counts]) -> Columns:
    """For `usage_hour_add` and `usage_day_add`."""
    return (
        [start for start, _ in sums],
        [dimension_id(dimension) for _, dimension in sums],
        *_counts(sums.values()),
    )


def by_session(sums: Mapping[tuple[str, int, Dimension], Counts]) -> Columns:
    """For `usage_session_add`."""
    return (
        [session for session, _, _ in sums],
        [hour for _, hour, _ in sums],
        [dimension_id(dimension) for _, _, dimension in sums],
        *_counts(sums.values()),
    )


def _counts(sums: Iterable[Counts]) -> Columns:
    columns = list(zip(*sums, strict=True))
    return (*columns[:-_EXACT], *([str(amount) for amount in column] for column in columns[-_EXACT:]))


def _columns(tuples: Sequence[tuple[Any, ...]], width: int) -> Columns:
    return list(zip(*tuples, strict=True)) or [()] * width
