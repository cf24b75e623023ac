"""Processes that died of an error which nobody foresaw, by their logs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BEGINNING: Final = "Traceback (most recent call last):"


def crashes(logs: Path) -> Iterator[str]:
    """What each uncaught exception was. The services log an exception that they caught as a field of a JSON line; only
    the interpreter prints a traceback of its own."""
    for log in sorted(logs.glob("*.log")):
        lines = iter(log.read_text(errors="replace").splitlines())
        for line in lines:
            if line == _BEGINNING:
                yield f"{log.stem} died of an error: {_end_of(lines)}"


def _end_of(lines: Iterator[str]) -> str:
    """The line after the last frame: the exception's class and message."""
    return next((line for line in lines if not line.startswith(" ")), "the log ends within its traceback")
