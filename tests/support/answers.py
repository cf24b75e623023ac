"""Answers as providers give them, whole and as a stream, with what was used and billed: the committed examples."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.dialects.reports import Report
from gateway.dialects.streams import StreamFilter

_FOLDER: Final = Path(__file__).parents[1] / "contract" / "gateway" / "answers"


@dataclass(frozen=True, slots=True)
class AnswerExample:
    """`usage` leaves out what is at its default; `left` are the units that have no price, beside `bill_usd`."""

    dialect: Any
    provider: str
    asked: str
    answer: dict[str, Any]
    stream: list[dict[str, Any]]
    usage: dict[str, Any]
    bill_usd: str
    left: dict[str, int]

    @property
    def bill_nano_usd(self) -> int:
        return int(Decimal(self.bill_usd).scaleb(9))

    def reports(self) -> list[Report]:
        """Of the whole answer, and of the stream."""
        whole = self.answer
        told = Report(whole.get("usage"), whole.get("model"), whole.get("service_tier"), whole.get("provider"))
        return [told, self._streamed()]

    def _streamed(self) -> Report:
        passing = StreamFilter(self.dialect, strips_usage=False)
        for event in self.stream:
            passing.feed(b"data: " + orjson.dumps(event) + b"\n\n")
        passing.is_whole = True
        assert passing.is_final
        return Report(passing.usage, passing.model, passing.tier, passing.provider)


ANSWERS: Final = {
    path.stem: AnswerExample(**json.loads(path.read_text("utf-8"))) for path in sorted(_FOLDER.glob("*.json"))
}
