"""Further models that a body names: any of them may answer."""

from typing import Any, Final

from gateway.dialects.findings import Findings
from gateway.dialects.name import is_name
from gateway.dialects.path import Path, render
from gateway.errors import BadCall

CANDIDATES_MAX: Final = 16


def candidate(value: Any, path: Path, found: Findings) -> None:
    """One model's name."""
    shown = render(path)
    if not is_name(value):
        raise BadCall(f"`{shown}` must be the name of a model", param=shown)
    if value not in found.candidates:
        found.candidates.append(value)
    if len(found.candidates) > CANDIDATES_MAX:
        raise BadCall(f"`{shown}` is one model too many: at most {CANDIDATES_MAX} may be named", param=shown)


def candidates(value: Any, path: Path, found: Findings) -> None:
    """A list of names."""
    if not isinstance(value, list):
        raise BadCall(f"`{render(path)}` must be a list of models", param=render(path))
    for index, each in enumerate(value):
        candidate(each, (path, index), found)
