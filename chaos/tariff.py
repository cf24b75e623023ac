"""What the demo provider's bill comes to. The rates are written down here: nothing is shared with what is judged.

Instants are monotonic seconds of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PRIMING_TOKENS: Final = 16
MEDIA_TOKENS: Final = 1_400
"""The most this provider bills for a picture of ours; what a gateway reserves for one is its own affair."""
ALWAYS: Final = float("-inf")
NEVER: Final = float("inf")
HEARD_WITHIN_S: Final = 6.0
"""For so long after it changed a gateway may go by the old price."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Nano-USD a token: input, input read from a cache, output."""

    input: int
    cached: int
    output: int

    def cost(self, prompt: int, cached: int, completion: int) -> int:
        """Nano-USD; `prompt` includes `cached`."""
        return (prompt - cached) * self.input + cached * self.cached + completion * self.output

    def worst(self, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost."""
        return input_tokens * max(self.input, self.cached) + output_tokens * self.output


@dataclass(frozen=True, slots=True)
class _Step:
    """A price: the first instant at which it may be in force, and the one from which it is."""

    since: float
    surely: float
    rate: Rate


@dataclass(slots=True)
class Tariff:
    """Rates by model, each from an instant on. The first one of a model holds before that, too."""

    _of: dict[str, list[_Step]] = field(default_factory=dict)

    def put(self, model: str, rate: Rate, *, since: float = ALWAYS, surely: float | None = None) -> None:
        """A price that is in force from `surely` on, and may be from `since` on."""
        self._of.setdefault(model, []).append(_Step(since, since if surely is None else surely, rate))
        self._of[model].sort(key=lambda step: step.since)

    def has(self, model: str) -> bool:
        return model in self._of

    def priced_since(self, model: str) -> float:
        """When the model's first price was announced; NEVER if it has none."""
        steps = self._of.get(model)
        return steps[0].surely if steps else NEVER

    def newest(self, model: str) -> Rate:
        return self._of[model][-1].rate

    def between(self, model: str, since: float, until: float) -> list[Rate]:
        """Every rate that may have been in force at some time of the span."""
        steps = self._of[model]
        ends = [step.surely for step in steps[1:]] + [NEVER]
        begun = [step.since if place else ALWAYS for place, step in enumerate(steps)]
        return [
            step.rate for step, begin, end in zip(steps, begun, ends, strict=True) if begin <= until and since <= end
        ]

    def all(self, model: str) -> list[Rate]:
        return [step.rate for step in self._of[model]]

    def costs_of(self, line: Mapping[str, Any], since: float, until: float) -> set[int]:
        """What a line of the bill may come to, for a call that was admitted in the span."""
        tokens = (line["prompt_tokens"], line["cached_tokens"], line["completion_tokens"])
        return {rate.cost(*tokens) for rate in self.between(line["model"], since, until)}


SEED: Final[dict[str, Rate]] = {
    "gpt-4o-mini": Rate(150, 75, 600),
    "gpt-4o-mini-2024-07-18": Rate(150, 75, 600),
    "claude-haiku-4-5": Rate(1000, 100, 5000),
    "claude-haiku-4-5-20251001": Rate(1000, 100, 5000),
}
"""List prices in nano-USD a token; USD a million is a thousandth of it."""
SNAPSHOTS: Final = {"gpt-4o-mini": "gpt-4o-mini-2024-07-18", "claude-haiku-4-5": "claude-haiku-4-5-20251001"}
"""What a provider may say it served, asked for a model by its alias."""
