"""What is kept of a run: figures that can be added to those of others, and what was found."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self


@dataclass(slots=True)
class Figures:
    """`counts` and `samples` (seconds) by the name of their row; `stories` is empty where nothing was wrong."""

    seed: int
    faults: int
    counts: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    stories: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        return cls(**kept)


def added(parts: Iterable[Figures]) -> Figures:
    """All of them as one. Its seed is that of the first."""
    listed = list(parts)
    counts: Counter[str] = Counter()
    samples: dict[str, list[float]] = {}
    for part in listed:
        counts.update(part.counts)
        for name, seconds in part.samples.items():
            samples.setdefault(name, []).extend(seconds)
    return Figures(
        listed[0].seed,
        sum(part.faults for part in listed),
        dict(counts),
        samples,
        [story for part in listed for story in part.stories],
        sum(part.seconds for part in listed),
    )


class Results:
    """The parts of a long run in a JSON file, each written as soon as it is over.

    A file of another run (another seed, other lengths) is refused with ValueError.
    """

    def __init__(self, file: Path, *, seed: int, lengths: Sequence[int]) -> None:
        self._file = file
        self._plan = {"seed": seed, "lengths": list(lengths)}
        self.parts: list[Figures] = []
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["plan"] != self._plan:
                raise ValueError(f"{file} is of another run: {kept['plan']}")
            self.parts = [Figures.of(part) for part in kept["parts"]]

    def add(self, part: Figures) -> None:
        self.parts.append(part)
        text = json.dumps({"plan": self._plan, "parts": [asdict(each) for each in self.parts]}, indent=1)
        beside = self._file.with_suffix(".new")
        beside.write_text(text + "\n")
        beside.replace(self._file)


def planned_seed(file: Path) -> int | None:
    """The seed of the run that the file is of; None if there is no such file."""
    return int(json.loads(file.read_text())["plan"]["seed"]) if file.exists() else None


def lengths(faults: int, parts: int) -> list[int]:
    """So many faults in so many parts, as equal as may be."""
    return [faults // parts + (place < faults % parts) for place in range(parts)]


SEED_STEP: Final = 1_000_003
"""Between the seeds of two parts."""
