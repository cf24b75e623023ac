"""What the harness itself knows of a run, without having asked the system."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chaos.budgets import Budget
from chaos.calls import Call
from chaos.outages import Outages
from chaos.suspense import Release
from chaos.tariff import Tariff
from chaos.tenants import Tenant
from chaos.twins import Zombie


@dataclass(frozen=True, slots=True)
class Run:
    """Instants are monotonic seconds; `zero` is what the wall clock showed at 0."""

    zero: datetime
    tenants: Sequence[Tenant]
    everybodys: Sequence[Budget]
    calls: Sequence[Call]
    tariff: Tariff
    outages: Outages = field(default_factory=Outages)
    lost_nodes: Sequence[tuple[str, float]] = ()
    zombies: Sequence[Zombie] = ()
    releases: Sequence[Release] = ()
    gone: frozenset[str] = frozenset()
    poisoned: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    false_refusals: Sequence[Call] = ()
    """Refusals for money that the meter had room for, with everybody there."""

    def budgets(self) -> Iterator[tuple[Tenant | None, Budget]]:
        """Every budget, the platform's first."""
        yield from ((None, budget) for budget in self.everybodys)
        yield from ((tenant, budget) for tenant in self.tenants for budget in tenant.budgets)

    def seconds(self, at: datetime) -> float:
        return (at - self.zero).total_seconds()
