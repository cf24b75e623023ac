"""Whether the Kafka parts of a process can go on (liveness) and whether they are connected (readiness).

Liveness never depends on the broker being reachable: a restart would not bring it back.
"""

from typing import Protocol


class Watched(Protocol):
    """A part that knows how it is. Each sentence names the part and what is wrong."""

    def problems(self) -> list[str]:
        """What only a restart of this process can mend."""
        ...

    def unready(self) -> list[str]:
        """What is still missing before this part can work, or what it has lost for now."""
        ...


def alive(*parts: Watched) -> list[str]:
    """Problems of all parts; empty means alive."""
    return [problem for part in parts for problem in part.problems()]


def unready(*parts: Watched) -> list[str]:
    """What all parts still lack; empty means ready."""
    return [lack for part in parts for lack in part.unready()]
