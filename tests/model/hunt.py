"""How a wrong protocol is looked for: until it breaks something once, and the same way every time."""

from typing import Final

from hypothesis import HealthCheck, Phase, settings

HUNT: Final = settings(
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
