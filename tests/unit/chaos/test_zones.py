"""A zone of the run has its midnight where it was asked for, to the second, also for budgets."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from budget.budgets.windows import Calendar
from chaos.zones import write_zone, zones_in


@pytest.mark.parametrize("hour", [0, 5, 11, 12, 13, 23])
def test_a_day_ends_when_it_was_told_to(tmp_path: Path, hour: int) -> None:
    midnight = datetime(2026, 3, 2, hour, 17, 43, tzinfo=UTC)
    name = f"Test/Midnight_{hour}"
    write_zone(tmp_path, name, midnight)
    with zones_in(tmp_path):
        assert Calendar("day", name).span(midnight - timedelta(seconds=1)).end == midnight
        assert midnight.astimezone(ZoneInfo(name)).hour == 0
