"""Rollups: what entries add up to by hour, day and session, for every combination of dimensions that occurred."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from metering.charge import Entry

HOUR_S: Final = 3600
DAY_S: Final = 86_400

MEASURES: Final = (
    "attempts",
    "requests",
    "succeeded",
    "cache_hits",
    "simple",
    "medium",
    "complex",
    "input_tokens",
    "output_tokens",
    "cost_nano_usd",
    "billed_nano",
)
"""What is counted, in the order of `Counts`. A request counts once, however many attempts it took."""

Counts: TypeAlias = tuple[int, ...]
Hour: TypeAlias = int
"""Start of a UTC hour, in seconds since 1970."""

_DIMENSIONS_KNOWN: Final = 200_000


class Dimension(NamedTuple):
    """What usage is counted by. Sums in different currencies never meet in one row."""

    org: str
    team: str | None
    user: str | None
    key: str
    feature: str | None
    provider: str
    model: str
    currency: str


class Rollup(NamedTuple):
    """Additions to the rollup tables; of each key there is one."""

    hours: dict[tuple[Hour, Dimension], Counts]
    days: dict[tuple[Hour, Dimension], Counts]
    sessions: dict[tuple[str, Hour, Dimension], Counts]

    def dimensions(self) -> set[Dimension]:
        return {dimension for _, dimension in self.days}


@lru_cache(maxsize=_DIMENSIONS_KNOWN)
def dimension_id(dimension: Dimension) -> UUID:
    """128 bits of BLAKE2b over the dimension's parts: the same everywhere, without asking the database."""
    return UUID(bytes=blake2b(orjson.dumps(tuple(dimension)), digest_size=16).digest())


def roll_up(entries: Iterable[Entry]) -> Rollup:
    """The sums of these entries by the hour, UTC day and session in which their attempts started."""
    by_hour: dict[tuple[Hour, Dimension], list[Counts]] = {}
    by_session: dict[tuple[str, Hour, Dimension], list[Counts]] = {}
    for entry in entries:
        event = entry.attempt.event
        who = event.principal
        dimension = Dimension(
            who.org,
            who.team,
            who.user,
            who.key,
            event.feature,
            event.provider,
            event.served_model,
            event.billing.currency,
        )
        hour = int(event.started_at.timestamp()) // HOUR_S * HOUR_S
        counts = _counts(entry)
        by_hour.setdefault((hour, dimension), []).append(counts)
        if event.session is not None:
            by_session.setdefault((event.session, hour, dimension), []).append(counts)
    hours = {key: _sum(counts) for key, counts in by_hour.items()}
    by_day: dict[tuple[Hour, Dimension], list[Counts]] = {}
    for (hour, dimension), counts in hours.items():
        by_day.setdefault((hour // DAY_S * DAY_S, dimension), []).append(counts)
    return Rollup(
        hours,
        {key: _sum(counts) for key, counts in by_day.items()},
        {key: _sum(counts) for key, counts in by_session.items()},
    )


def _counts(entry: Entry) -> Counts:
    event = entry.attempt.event
    complexity = event.complexity
    return (
        1,
        event.attempt == 1,
        event.outcome == "success",
        event.cache_hit != "none",
        complexity == "simple",
        complexity == "medium",
        complexity == "complex",
        event.usage.input_total,
        event.usage.output_total,
        entry.cost_nano_usd,
        entry.billed_nano,
    )


def _sum(counts: list[Counts]) -> Counts:
    return tuple(map(sum, zip(*counts, strict=True)))
