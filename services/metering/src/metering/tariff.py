"""The rates that priced a charge, kept as they were, so that the charge can be explained for the life of the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from farebox.pricing import BUCKETS, Rates, RateTable
from farebox.pricing.rates import REQUEST, STANDARD, TOOL, Ladder, Mode, unscaled
from metering.interned import id_of

_SHOWN: Final = {"service_tiers": "service_tier", "speeds": "speed", "geographies": "geography"}
"""Each alone: a tier or speed at a geography costs so many times as much as the geography says."""

MILLION: Final = 1_000_000
THOUSAND: Final = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """Rates under an id that is computed from them: equal rates are one tariff, whoever stores it first."""

    id: UUID
    price_version: str
    json: str


def tariff_of(rates: Rates) -> Tariff:
    """The tariff that these rates are."""
    fields = {
        "provider": rates.provider,
        "model": rates.model,
        "version": rates.version,
        "effective_from": rates.effective_from,
        "effective_to": rates.effective_to,
        "modes": [{**mode._asdict(), "tables": _dumped(tables)} for mode, tables in rates.modes.items()],
        "unmetered": rates.unmetered,
    }
    text = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
    return Tariff(id_of(text), rates.version, text)


def rates_of(json: str) -> Rates:
    """The rates that `tariff_of` wrote down."""
    fields = orjson.loads(json)
    return Rates(
        provider=fields["provider"],
        model=fields["model"],
        version=fields["version"],
        effective_from=_instant(fields["effective_from"]),
        effective_to=_instant(fields["effective_to"]),
        modes=_modes(fields),
        unmetered=tuple(fields["unmetered"]),
    )


def shown(rates: Rates) -> dict[str, object]:
    """Rates as the price API shows them: USD a million tokens or a thousand calls, by unit."""
    return {
        "version": rates.version,
        "provider": rates.provider,
        "model": rates.model,
        "effective_from": rates.effective_from,
        "effective_to": rates.effective_to,
        "standard": [_table(table) for table in rates.standard],
        **{
            name: {
                value: [_table(table) for table in tables]
                for mode, tables in rates.modes.items()
                if (value := mode._asdict()[field]) is not None and mode == Mode(**{field: value})
            }
            for name, field in _SHOWN.items()
        },
    }


def _table(table: RateTable) -> dict[str, object]:
    tokens = {
        bucket: unscaled(rate, MILLION) for bucket, rate in zip(BUCKETS, table.tokens, strict=True) if rate is not None
    }
    calls = {f"{TOOL}{tool}": unscaled(rate, THOUSAND) for tool, rate in table.tools.items()}
    if table.request:
        calls[REQUEST] = unscaled(table.request, THOUSAND)
    return {"above": max(table.above, 0), "per_million_tokens": tokens, "per_thousand_calls": calls}


def _dumped(ladder: Ladder) -> list[dict[str, object]]:
    # Integers beyond 64 bits are no JSON to orjson, and rates are 10^24 of a dollar: they are kept as text.
    return [
        {
            "above": table.above,
            "upto": table.upto,
            "tokens": [None if rate is None else str(rate) for rate in table.tokens],
            "request": str(table.request),
            "tools": {tool: str(rate) for tool, rate in table.tools.items()},
        }
        for table in ladder
    ]


def _loaded(ladder: list[Mapping[str, Any]]) -> Ladder:
    return tuple(
        RateTable(
            above=table["above"],
            upto=table["upto"],
            tokens=tuple(None if rate is None else int(rate) for rate in table["tokens"]),
            request=int(table["request"]),
            tools={tool: int(rate) for tool, rate in table["tools"].items()},
        )
        for table in ladder
    )


def _modes(fields: Mapping[str, Any]) -> Mapping[Mode, Ladder]:
    if (
        "modes" not in fields
    ):  # written before there were speeds and geographies: a tier that is not listed cost the standard
        tiers = {Mode(name): _loaded(tables) for name, tables in fields["variants"].items()}
        return {STANDARD: _loaded(fields["standard"]), **tiers}
    return {
        Mode(each["service_tier"], each["speed"], each["geography"]): _loaded(each["tables"])
        for each in fields["modes"]
    }


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
