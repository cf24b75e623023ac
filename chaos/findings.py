"""What an oracle finds wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be. `amount` in nano-units, where it is about money."""

    kind: str
    story: str
    amount: int = 0
