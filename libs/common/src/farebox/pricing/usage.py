"""What one model call used, in disjoint buckets.

Providers disagree about what contains what (OpenAI and Gemini count cached tokens inside input, Anthropic outside;
Gemini's candidates exclude thoughts). Whoever reads a provider's answer normalises once; here every token is in
exactly one bucket.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

InputBucket: TypeAlias = Literal["input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_in", "image_in"]
OutputBucket: TypeAlias = Literal["output", "reasoning", "audio_out", "image_out"]
Bucket: TypeAlias = InputBucket | OutputBucket

INPUT_BUCKETS: Final[tuple[InputBucket, ...]] = get_args(InputBucket)
OUTPUT_BUCKETS: Final[tuple[OutputBucket, ...]] = get_args(OutputBucket)
BUCKETS: Final[tuple[Bucket, ...]] = (*INPUT_BUCKETS, *OUTPUT_BUCKETS)
"""Every token bucket, in the order of a rate table's columns."""

MAX_COUNT: Final = 10**12
"""More units than any call can use: a larger count is a defect, not a call."""

Count = Annotated[int, Field(strict=True, ge=0, le=MAX_COUNT)]
"""A number of tokens or calls. Floats and bools are refused, also when they are whole."""

Label = Annotated[str, Field(min_length=1, max_length=64)]
"""A provider's word for a tool or for how it served a call."""


class UsageSource(StrEnum):
    """Where the counts come from."""

    REPORTED = "reported"
    ESTIMATED = "estimated"
    WORST_CASE = "worst_case"


class Usage(BaseModel):
    """Counts of one call; an explicit 0 and an absent bucket price alike, `source` says who counted.

    `tool_calls` counts what the provider bills apart from tokens (`web_search`, `code_execution`, …), not the
    caller's own functions. `service_tier` (`flex`, `priority`, `batch`, …), `speed` (`fast`) and `geography` (`us`)
    are what the *response* states; None where it states nothing, which prices as the standard.

    An unknown bucket is refused, so that usage nobody can price reaches suspense instead of vanishing.
    A pydantic model because it is a part of a public event; `bench/price.py` has it build in the time of a
    slotted dataclass that checks its counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Count = 0
    cache_read: Count = 0
    cache_write_5m: Count = 0
    cache_write_1h: Count = 0
    audio_in: Count = 0
    image_in: Count = 0
    output: Count = 0
    reasoning: Count = 0
    audio_out: Count = 0
    image_out: Count = 0
    requests: Count = 1
    tool_calls: dict[Label, Count] = Field(default_factory=dict)
    source: UsageSource = UsageSource.REPORTED
    service_tier: Label | None = None
    speed: Label | None = None
    geography: Label | None = None

    @property
    def input_total(self) -> int:
        """Tokens of every input-side bucket; long-context tiers are chosen by it."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h + self.audio_in + self.image_in

    @property
    def output_total(self) -> int:
        """Tokens of every output-side bucket."""
        return self.output + self.reasoning + self.audio_out + self.image_out

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input_total + self.output_total
