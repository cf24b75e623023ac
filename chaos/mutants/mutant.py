"""A mutant: a small patch of a service's source, and the short run that must find it.

A copy of the service's package is patched and put first on `PYTHONPATH` of all that the run starts. Nothing in the
service knows of it. A patch whose text is not there, or is there twice, is an error: a mutant that mutates nothing
would look like one that nobody finds.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.calls import Mix
from chaos.schedule import Fault

VARIABLE: Final = "PYTHONPATH"
_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_ELSEWHERE: Final = {"farebox": _REPOSITORY / "libs" / "common" / "src" / "farebox"}


class PatchMissing(Exception):
    """The source has changed: what a patch replaces is not there exactly once."""


@dataclass(frozen=True, slots=True)
class Patch:
    """`file` below the service's package, or the library's; `old` occurs there once."""

    service: str
    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        """Raises PatchMissing."""
        path = package / self.file
        text = path.read_text() if path.exists() else ""
        if text.count(self.old) != 1:
            raise PatchMissing(f"{self.service}/{self.file} has {text.count(self.old)} of {self.old!r}")
        path.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True)
class Mutant:
    """`what` says how it is wrong; `found_by` are kinds of findings, one of which must name it.

    `orgs` are those that call, all if none is named; `calm_s` is the load before the first fault and after the last.
    """

    name: str
    what: str
    patches: Sequence[Patch]
    found_by: Sequence[str]
    schedule: Sequence[Fault] = ()
    calm_s: float = 10.0
    per_s: float = 40.0
    mix: Mix = field(default_factory=Mix)
    orgs: Sequence[str] = ()


def write_patched(patches: Sequence[Patch], folder: Path) -> None:
    """Copies of the packages, patched. Raises PatchMissing."""
    for package in sorted({patch.service for patch in patches}):
        source = _ELSEWHERE.get(package, _REPOSITORY / "services" / package / "src" / package)
        shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for patch in patches:
        patch.apply(folder / patch.service)


@contextlib.contextmanager
def planted(mutant: Mutant, folder: Path) -> Iterator[None]:
    """While the block lasts, processes that are started run the mutant. Raises PatchMissing."""
    write_patched(mutant.patches, folder)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.pathsep.join(filter(None, (str(folder.resolve()), before)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
