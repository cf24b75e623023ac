"""The fault harness in its shortest form: a few faults of different kinds, all of Farebox in several replicas."""

from pathlib import Path

import pytest

from chaos.report import figures, table
from chaos.run import Order, run
from chaos.schedule import Fault

SEED = 7
FAULTS = [
    Fault(0.5, "kill", "gateway-2", 0.3),
    Fault(1.5, "point", "metering-2", detail="metering.after_commit:2"),
    Fault(2.0, "cut", "budget", 1.0),
    Fault(2.5, "point", "gateway", detail="gateway.before_completed:3"),
    Fault(3.5, "duplicates", "request.completed", detail="1"),
    Fault(4.0, "kill", "kafka", 0.3),
    Fault(5.0, "kill", "budget-2", 0.2),
    Fault(5.5, "poison", "usage.priced", detail="2"),
]


@pytest.mark.timeout(600)
async def test_nothing_is_lost_doubled_or_overspent_under_a_few_faults(server_folder: Path) -> None:
    result = await run(Order(server_folder / "chaos", SEED, FAULTS, per_s=30.0, calm_s=1.0), print)
    kept = figures(result)
    assert result.is_clean, "\n".join((*kept.stories, table([kept])))
    assert sum(result.record.faults.values()) >= len(FAULTS)
    assert len(result.journal.answered()) > 50
