"""Named places in a service where the fault harness lets it die: between two steps that must both hold.

    faults.point("gateway.after_intent")

does nothing, unless the process was started with `FAREBOX_FAULT_POINT=gateway.after_intent:3`: then the third pass
kills it, as SIGKILL from outside would at exactly that place. Read once, from the environment alone, when the process
starts: nothing that a caller sends can arm it.
"""

import os
import signal
import sys
from typing import Final

VARIABLE: Final = "FAREBOX_FAULT_POINT"


def _armed(text: str) -> tuple[str, int]:
    """A point's name and the pass that is fatal; from nothing, no name."""
    name, _, count = text.partition(":")
    return name, int(count or 1)


_name, _left = _armed(os.environ.get(VARIABLE, ""))


def point(name: str) -> None:
    """A place to die at, if this process was told to."""
    if _name == name:
        _pass()


def _pass() -> None:
    global _left  # noqa: PLW0603 - the count of this process
    _left -= 1
    if _left == 0:
        sys.stdout.write(f'{{"event": "fault_point", "name": "{_name}"}}\n')
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
