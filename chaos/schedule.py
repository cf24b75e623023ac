"""Which faults come when: drawn from a seed, so that a seed is a schedule. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

GATEWAYS: Final = ("gateway", "gateway-2", "gateway-3")
METERING: Final = ("metering", "metering-2")
BUDGET: Final = ("budget", "budget-2")
NOTIFIER: Final = ("notifier",)
SERVERS: Final = ("kafka", "postgres")
LINKS: Final = ("budget", "postgres", "kafka", "provider")
SERVICES: Final = (*GATEWAYS, *METERING, *BUDGET, *NOTIFIER)
RIGHTS: Final = frozenset((*GATEWAYS, *BUDGET, "postgres", "link budget", "link postgres"))
"""Parts that hold rights to spend, or are needed to get some."""

POINTS: Final[dict[str, tuple[str, ...]]] = {
    "gateway": (
        "gateway.after_raise",
        "gateway.after_intent",
        "gateway.before_completed",
        "gateway.after_completed",
        "gateway.after_publish",
        "gateway.after_start",
    ),
    "metering": ("metering.before_commit", "metering.after_commit"),
    "budget": (
        "budget.before_raise_commit",
        "budget.after_raise_commit",
        "budget.before_posting_commit",
        "budget.after_posting_commit",
        "outbox.after_publish",
    ),
    "notifier": ("notifier.after_taken", "notifier.after_claim", "notifier.after_send"),
}
"""Between each pair of steps that must both hold, by service."""

SPACING_S: Final = 1.6
"""From one fault to the next, on average; with two cores a service needs about as long to be up again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when (seconds of load), what, to whom, and for how long or at which pass."""

    at_s: float
    kind: str
    target: str
    for_s: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        how = " ".join(part for part in (self.detail, f"{self.for_s:.1f} s" if self.for_s else "") if part)
        return f"{self.at_s:6.1f} s  {self.kind} {self.target} {how}".rstrip()


LONG: Final = 100
"""Faults in a schedule that also loses a node for good, and has Kafka and PostgreSQL away for long."""
AWAY_S: Final = {"kafka": 75.0, "postgres": 25.0}
READ_ONLY_S: Final = 12.0
STALLED_S: Final = 45.0
"""One process's way to Kafka: longer than anybody waits for a record."""
SKEWED_S: Final = 15.0
AWAKE: Final = "awake"
"""Of a zombie: the older process never stood still."""
SILENT_S: Final = 75.0
"""A paused gateway: longer than the budget service of a run waits before it gives one up for lost."""
THINNED: Final = 6
"""While a server is away so many times fewer faults come: what is killed cannot be ready before it is back."""

_WEIGHTS: Final[dict[str, int]] = {
    "kill": 26,
    "pause": 12,
    "point": 16,
    "restart": 4,
    "cut": 8,
    "stall": 4,
    "slow": 4,
    "node_loss": 3,
    "journal_damage": 2,
    "poison": 4,
    "duplicates": 5,
    "replay": 2,
    "raise_limit": 5,
    "cut_limit": 2,
    "add_price": 2,
    "change_price": 3,
    "new_budget": 2,
    "switch_budget": 3,
    "revoke_key": 2,
    "power_loss": 3,
    "read_only": 1,
    "fail_over": 2,
    "zombie": 2,
    "skew": 1,
    "stall_one": 1,
    "release": 2,
}


CONSUMED: Final = ("request.completed", "usage.priced", "budget.events")
"""Topics with a consumer group of ours."""
_TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "kill": (*GATEWAYS, *SERVICES, *SERVERS),
    "pause": (*GATEWAYS, *SERVICES, *SERVERS),
    "restart": SERVICES,
    "point": (*GATEWAYS, *METERING, *BUDGET, *BUDGET, *NOTIFIER),
    "cut": LINKS,
    "stall": LINKS,
    "slow": LINKS,
    "node_loss": GATEWAYS,
    "node_gone": GATEWAYS,
    "journal_damage": GATEWAYS,
    "power_loss": GATEWAYS,
    "zombie": GATEWAYS,
    "skew": GATEWAYS,
    "silence": GATEWAYS,
    "stall_one": (*GATEWAYS, *METERING, *BUDGET),
    "read_only": ("postgres",),
    "fail_over": ("postgres",),
    "poison": CONSUMED,
    "duplicates": CONSUMED,
    "replay": ("metering", "budget"),
}


_DETAILS: Final[dict[str, tuple[str, ...]]] = {
    "slow": ("20 ms", "60 ms", "200 ms"),
    "skew": ("-86400", "-3600", "3600", "86400"),
    "zombie": ("", AWAKE),
}
"""How slow, in milliseconds; how wrong a clock, in seconds; whether a zombie stood still."""
_FOR_S: Final[dict[str, tuple[float, float]]] = {
    "kill": (0.0, 1.0),
    "cut": (0.2, 4.0),
    "stall": (0.2, 4.0),
    "power_loss": (1.0, 5.0),
    "read_only": (READ_ONLY_S, READ_ONLY_S),
    "fail_over": (1.0, 6.0),
    "zombie": (8.0, 15.0),
    "silence": (SILENT_S, SILENT_S),
    "skew": (SKEWED_S, SKEWED_S),
    "slow": (0.2, 4.0),
    "stall_one": (STALLED_S, STALLED_S),
}
"""How long a fault lasts, between two bounds; of a power loss, how much of the journal is lost."""


def schedule(seed: int, faults: int, *, spacing_s: float = SPACING_S) -> list[Fault]:
    """So many faults in the order of their time. Every kind comes at least once where there are enough of them.

    A long schedule has Kafka away in its middle, PostgreSQL before that, a gateway silent for long after it, and at its
    end a node that goes for good: what it held is in suspense some time later.
    """
    chance = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    kinds = list(_WEIGHTS)
    chance.shuffle(kinds)
    kinds = kinds[:faults]
    kinds += chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=faults - len(kinds))
    chance.shuffle(kinds)
    if faults >= LONG:
        kinds[faults // 4], kinds[faults // 2] = "postgres_away", "kafka_away"
        kinds[faults * 3 // 4], kinds[-1] = "silence", "node_gone"
    drawn: list[Fault] = []
    at_s, back_s = 2.0, 0.0
    for kind in kinds:
        drawn.append(_drawn(chance, at_s, kind))
        if kind.endswith("_away"):
            back_s = at_s + drawn[-1].for_s
        at_s += chance.uniform(0.4, 1.6) * spacing_s * (THINNED if at_s < back_s else 1)
    return drawn


def _drawn(chance: random.Random, at_s: float, kind: str) -> Fault:
    target = chance.choice(_TARGETS.get(kind, ("",)))
    if kind in _FOR_S:
        detail = chance.choice(_DETAILS[kind]) if kind in _DETAILS else ""
        return Fault(at_s, kind, target, chance.uniform(*_FOR_S[kind]), detail)
    match kind:
        case "kafka_away" | "postgres_away":
            server = kind.removesuffix("_away")
            return Fault(at_s, kind, server, AWAY_S[server])
        case "pause":
            return Fault(at_s, kind, target, _pause_s(chance, target))
        case "point":
            point = chance.choice(POINTS[service_of(target)])
            return Fault(at_s, kind, target, detail=f"{point}:{_pass(chance, point)}")
    return Fault(at_s, kind, target, detail="" if target else str(chance.randrange(1 << 30)))


def _pause_s(chance: random.Random, target: str) -> float:
    """Mostly moments; now and then longer than Kafka waits for a member of a group."""
    if target in SERVERS:
        return chance.uniform(0.5, 3.0)
    return chance.uniform(11.0, 13.0) if chance.random() < 0.15 else chance.uniform(0.3, 4.0)


def _pass(chance: random.Random, point: str) -> int:
    return 1 if point == "gateway.after_start" else chance.randint(1, 12)


def service_of(replica: str) -> str:
    """`metering-2` is a metering."""
    return replica.partition("-")[0]


def only(schedule: Sequence[Fault], kept: Sequence[int]) -> list[Fault]:
    """The faults at these places alone, at their own times."""
    return [schedule[place] for place in kept]
