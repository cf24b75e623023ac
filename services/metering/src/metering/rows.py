"""The core's nouns as columns: one list for each array parameter of a statement, in its order."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from farebox.events import RequestCompleted
from metering.attempt import Attempt
from metering.charge import Entry, Suspended
from metering.dimension import Dimension
from metering.tariff import Tariff
from metering.terms import Terms
from metering.units import UnitEntry, UnitLeft

Columns: TypeAlias = Sequence[Sequence[Any]]

INCOMING: Final = "incoming"
"""The table that charges are copied into on their way to the ledger."""


def charges(
    entries: Sequence[Entry], dimension_ids: Sequence[UUID], terms_ids: Sequence[UUID], tariff_ids: Sequence[UUID]
) -> Columns:
    """The columns of `incoming`."""
    events = [entry.attempt.event for entry in entries]
    return (
        [event.attempt_id for event in events],
        [event.request_id for event in events],
        [event.started_at for event in events],
        [entry.billed_nano for entry in entries],
        [entry.cost_nano_usd for entry in entries],
        dimension_ids,
        terms_ids,
        tariff_ids,
        [event.session for event in events],
        [event.attempt for event in events],
        [event.outcome for event in events],
        [event.cache_hit for event in events],
        [event.complexity for event in events],
        [event.usage.input_total for event in events],
        [event.usage.output_total for event in events],
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


def units(lefts: Sequence[UnitLeft]) -> Columns:
    """For `units_add`."""
    events = [left.attempt.event for left in lefts]
    return (
        [left.id for left in lefts],
        [event.attempt_id for event in events],
        [event.request_id for event in events],
        [left.unit for left in lefts],
        [left.used for left in lefts],
        [left.detail for left in lefts],
        [event.price_provider or event.provider for event in events],
        [event.served_model for event in events],
        [event.principal.org for event in events],
        [event.principal.team for event in events],
        [event.principal.user for event in events],
        [event.principal.key for event in events],
        [event.started_at for event in events],
    )


def unit_entries(entries: Sequence[UnitEntry], tariff_ids: Sequence[UUID]) -> Columns:
    """For `unit_entries_add`."""
    return (
        [entry.left.id for entry in entries],
        [entry.left.attempt.event.attempt_id for entry in entries],
        [entry.billed_nano for entry in entries],
        [entry.cost_nano_usd for entry in entries],
        tariff_ids,
    )


def attempt_of(received: str, occurred_at: datetime) -> Attempt:
    """An attempt from its JSON as received, as of the instant it was given. Raises ValueError if it is none."""
    attempt = Attempt(RequestCompleted.model_validate_json(received), received)
    return attempt if attempt.event.started_at == occurred_at else attempt.dated(occurred_at)


def dimensions(new: Mapping[Dimension, UUID]) -> Columns:
    """For `dimensions_add`."""
    return ([*new.values()], *zip(*new, strict=True))


def terms(new: Mapping[Terms, UUID]) -> Columns:
    """For `terms_add`."""
    return (
        [*new.values()],
        [one.debit_account for one in new],
        [one.credit_account for one in new],
        [one.currency for one in new],
        [one.fx_rate for one in new],
        [one.fx_source for one in new],
        [one.fx_date for one in new],
    )


def tariffs(new: Mapping[Tariff, UUID]) -> Columns:
    """For `tariffs_add`."""
    return ([*new.values()], [one.price_version for one in new], [one.json for one in new])
