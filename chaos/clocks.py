"""A gateway whose wall clock is wrong: a copy of `farebox.clock` that adds to it, for one process."""

import os
from pathlib import Path
from typing import Final

from chaos.mutants.mutant import VARIABLE, Patch, write_patched

_NOW: Final = "        return datetime.now(UTC)"


def skewed(folder: Path, seconds: int) -> dict[str, str]:
    """What to add to a process's environment. Its monotonic clock is right, as on a machine that was set wrong."""
    wrong = f"        return datetime.fromtimestamp(time.time() + {seconds}, UTC)"
    write_patched([Patch("farebox", "clock.py", _NOW, wrong)], folder)
    return {VARIABLE: os.pathsep.join(filter(None, (str(folder.resolve()), os.environ.get(VARIABLE))))}
