"""Where in a body a field is, as callers read it in an error and operators write it in the routes file."""

import re
from typing import Final, TypeAlias

Path: TypeAlias = tuple["Path", str | int] | None
"""The path above and the last step: a key, or a place in a list. None is the body itself."""

STEP_CHARS_MAX: Final = 64
_PLACES: Final = re.compile(r"\[\d+\]")


def render(path: Path) -> str:
    """As in `messages[0].content[2].source`."""
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step[:STEP_CHARS_MAX]}")
    return "".join(reversed(steps)).removeprefix(".")


def setting(rendered: str) -> str:
    """The same for any place in a list: `messages.content.source`."""
    return _PLACES.sub("", rendered)
