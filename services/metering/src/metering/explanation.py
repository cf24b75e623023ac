"""Why a request cost what it cost: every attempt's buckets × rates, exchange rate, price version and entries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from farebox.events import Held, Measured, RequestCompleted
from farebox.money import decimal_text
from farebox.pricing import BUCKETS, STANDARD, Line, Rates, Usage, explain
from metering.tariff import rates_of

Row: TypeAlias = Mapping[str, Any]
"""A row of `ledger_of_request` or `suspense_of_request`."""

_EXACT: Final = Context(prec=80)


def explanation(request_id: UUID, entries: Sequence[Row], waiting: Sequence[Row]) -> dict[str, object]:
    """One request's attempts, as they were charged or why they are not yet."""
    by_attempt: Mapping[UUID, list[Row]] = defaultdict(list)
    for entry in entries:
        by_attempt[entry["attempt_id"]].append(entry)
    attempts = [_charged(rows) for rows in by_attempt.values()] + [_suspended(row) for row in waiting]
    return {
        "request_id": request_id,
        "cost_usd": _amount(entries, "cost_nano_usd"),
        "billed": {
            currency: _amount((row for row in entries if row["currency"] == currency), "amount_nano")
            for currency in sorted({row["currency"] for row in entries})
        },
        "attempts": sorted(attempts, key=lambda one: (one["started_at"], one["attempt_id"])),
    }


def _charged(entries: Sequence[Row]) -> dict[str, Any]:
    charge = next(row for row in entries if row["kind"] == "charge")
    event = RequestCompleted.model_validate_json(charge["attempt"])
    rates = rates_of(charge["rates"])
    return {
        **_told(event),
        "state": "priced",
        "charge": {
            "lines": [_line(line) for line in explain(rates, _as_charged(rates, event.usage))],
            "cost_usd": decimal_text(charge["cost_nano_usd"]),
            "price": {
                "version": charge["price_version"],
                "provider": rates.provider,
                "model": rates.model,
                "effective_from": rates.effective_from,
                "effective_to": rates.effective_to,
            },
            "fx": {"rate": str(charge["fx_rate"]), "source": charge["fx_source"], "date": charge["fx_date"]},
            "billed": decimal_text(charge["amount_nano"]),
            "currency": charge["currency"],
            "priced_at": charge["priced_at"],
        },
        "entries": [_entry(row) for row in entries],
        "suspense": None,
    }


def _as_charged(rates: Rates, usage: Usage) -> Usage:
    """A charge whose tariff does not list how the call was served was made at the standard rates, as once all were."""
    return usage if rates.table(usage) else usage.model_copy(update=STANDARD._asdict())


def _suspended(row: Row) -> dict[str, Any]:
    return {
        **_told(RequestCompleted.model_validate_json(row["attempt"])),
        "state": "suspended",
        "charge": None,
        "entries": [],
        "suspense": {"reason": row["reason"], "detail": row["detail"], "since": row["suspended_at"]},
    }


def _told(event: RequestCompleted) -> dict[str, Any]:
    """The attempt as the gateway told it, usage apart."""
    lease = event.lease
    told = event.model_dump(mode="json", exclude={"usage", "billing", "lease", "held", "request_id"})
    return {
        **told,
        "usage": {bucket: count for bucket in BUCKETS if (count := getattr(event.usage, bucket))},
        "requests": event.usage.requests,
        "tool_calls": event.usage.tool_calls,
        "service_tier": event.usage.service_tier,
        "speed": event.usage.speed,
        "geography": event.usage.geography,
        "usage_source": event.usage.source.value,
        "lease": lease and {"lease_id": lease.lease_id, "reserve": decimal_text(lease.reserve_nano)},
        "held": event.held and _held(event.held),
    }


def _held(held: Held) -> dict[str, object]:
    """Where an attempt was held, what was settled there, and what of that the provider did not report."""
    return {
        **held.model_dump(mode="json", exclude={"settled", "uncertain"}),
        "settled": _measured(held.settled),
        "uncertain": _measured(held.uncertain),
    }


def _measured(amount: Measured) -> dict[str, object]:
    return {"money": decimal_text(amount.money), "requests": amount.requests, "tokens": amount.tokens}


def _line(line: Line) -> dict[str, object]:
    """`count × rate_usd / per = amount_usd`, exactly; the sum of the lines, rounded once to a nano, is the cost."""
    return {
        "unit": line.unit,
        "count": line.count,
        "rate_usd": _plain(line.rate_usd),
        "per": line.per,
        "amount_usd": None if line.amount_nano_usd is None else _plain(line.amount_nano_usd.scaleb(-9, _EXACT)),
    }


def _entry(row: Row) -> dict[str, object]:
    return {
        "entry_id": row["entry_id"],
        "kind": row["kind"],
        "corrects": row["corrects"],
        "debit_account": row["debit_account"],
        "credit_account": row["credit_account"],
        "amount": decimal_text(row["amount_nano"]),
        "currency": row["currency"],
        "cost_usd": decimal_text(row["cost_nano_usd"]),
        "priced_at": row["priced_at"],
    }


def _amount(rows: Iterable[Row], column: str) -> str:
    return decimal_text(sum(row[column] for row in rows))


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize(_EXACT):f}"
