"""The provider's bill: one JSON line an answer, written before the answer's first byte."""

import os
from pathlib import Path
from typing import TypedDict

import orjson


class BillLine(TypedDict):
    """One billed attempt. `prompt_tokens` includes `cached_tokens`; `at` is RFC 3339 UTC."""

    request_id: str | None
    user: str | None
    """What the caller's body names as its end user."""
    answer_id: str
    model: str
    dialect: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    stream: bool
    status: int
    fault: str | None
    at: str


class Bill:
    """An append-only file. A line is handed to the operating system in one write, so a SIGKILL loses none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, line: BillLine) -> None:
        """Append a line. Raises OSError when the disk does not take all of it."""
        data = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        if os.write(self._file, data) != len(data):
            raise OSError(f"{self._path} took only part of a line")

    def lines(self, request_id: str | None = None) -> list[BillLine]:
        """Every line since the bill began, oldest first; of one request if named."""
        with self._path.open("rb") as file:
            lines: list[BillLine] = [orjson.loads(line) for line in file]
        return [line for line in lines if request_id in (None, line["request_id"])]
