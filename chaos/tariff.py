"""What the demo provider's bill comes to. The rates are written down here: nothing is shared with what is judged."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

PRIMING_TOKENS: Final = 16


@dataclass(frozen=True, slots=True)
class Rate:
    """Nano-USD a token: input, input read from a cache, output."""

    input: int
    cached: int
    output: int

    def cost(self, prompt: int, cached: int, completion: int) -> int:
        """Nano-USD; `prompt` includes `cached`."""
        return (prompt - cached) * self.input + cached * self.cached + completion * self.output

    def worst(self, body_bytes: int, max_tokens: int) -> int:
        """The most a call can cost: no tokeniser makes more tokens than there are bytes."""
        return (body_bytes + PRIMING_TOKENS) * max(self.input, self.cached) + max_tokens * self.output


@dataclass(slots=True)
class Tariff:
    """Rates by model, each from an instant on."""

    _of: dict[str, list[tuple[datetime, Rate]]] = field(default_factory=dict)

    def put(self, model: str, since: datetime, rate: Rate) -> None:
        self._of.setdefault(model, []).append((since, rate))
        self._of[model].sort(key=lambda each: each[0])

    def has(self, model: str) -> bool:
        return model in self._of

    def at(self, model: str, when: datetime) -> Rate:
        """The rate in force; before the first one, the first one."""
        rates = self._of[model]
        place = bisect_right(rates, when, key=lambda each: each[0])
        return rates[max(0, place - 1)][1]

    def newest(self, model: str) -> Rate:
        """The rate that takes effect last, perhaps only later."""
        return self._of[model][-1][1]

    def all(self, model: str) -> list[Rate]:
        return [rate for _, rate in self._of[model]]

    def cost_of(self, line: dict[str, Any], when: datetime) -> int:
        """A bill's line in nano-USD."""
        rate = self.at(line["model"], when)
        return rate.cost(line["prompt_tokens"], line["cached_tokens"], line["completion_tokens"])

    def costs_of(self, line: dict[str, Any]) -> set[int]:
        """What a line may have cost, where its price changed during the run."""
        tokens = (line["prompt_tokens"], line["cached_tokens"], line["completion_tokens"])
        return {rate.cost(*tokens) for rate in self.all(line["model"])}


SEED: Final[dict[str, Rate]] = {
    "gpt-4o-mini": Rate(150, 75, 600),
    "claude-haiku-4-5": Rate(1000, 100, 5000),
}
"""List prices in nano-USD a token; USD a million is a thousandth of it."""
