"""The committed example of every event type: records as they were once published."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).parents[1] / "contract" / "golden"


@dataclass(frozen=True, slots=True)
class Golden:
    """One example; `value` is a copy of its own each time."""

    headers: dict[str, bytes]
    raw: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.raw)

    @property
    def header_texts(self) -> dict[str, str]:
        return {name: value.decode() for name, value in self.headers.items()}


def _read(path: Path) -> Golden:
    record = json.loads(path.read_text("utf-8"))
    headers = {name: value.encode() for name, value in record["headers"].items()}
    return Golden(headers, json.dumps(record["value"], ensure_ascii=False).encode())


RECORDS: Final = {path.stem: _read(path) for path in sorted(_FOLDER.glob("*.json"))}
"""By file: `<type>.json` is the first that was published of a type, `<type>.<since>.json` says more."""

GOLDEN: Final = {name: golden for name, golden in RECORDS.items() if name == golden.header_texts["ce_type"]}
"""The first of every type."""
