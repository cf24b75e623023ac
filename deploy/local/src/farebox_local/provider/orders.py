"""What a request orders from the demo provider: token counts, delays and faults.

An order comes from `x-demo-*` headers, else from `demo_*` strings in the body's `metadata`, else from the defaults that
`POST /control` sets.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_PROMPT_EXCESS_MAX = 16
_COMPLETION_TOKENS = 32
_BYTES_PER_TOKEN = 4

Tokens = Annotated[int, Field(ge=0, le=10_000_000)]
Milliseconds = Annotated[int, Field(ge=0, le=600_000)]


class Fault(StrEnum):
    """How an answer goes wrong. All but the first two are billed in full, as providers do."""

    HTTP_500 = "http_500"
    HTTP_429 = "http_429"
    CUT_BEFORE_USAGE = "cut_before_usage"
    NO_USAGE = "no_usage"
    HANG = "hang"
    MALFORMED = "malformed"


class Order(BaseModel):
    """What one request asks for; None leaves it to the provider's own rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    cached_tokens: Tokens | None = None
    latency_ms: Milliseconds | None = None
    chunk_delay_ms: Milliseconds | None = None
    fault: Fault | None = None
    served_model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The model that the answer names, where it is another than the one asked for: a snapshot behind an alias."""


class Defaults(Order):
    """Orders for requests that have none; `fault_times` lets the fault end after so many requests."""

    fault_times: Annotated[int, Field(ge=1)] | None = None


def order_of(headers: Mapping[str, str], body: Mapping[str, Any], defaults: Defaults) -> Order:
    """The order of one request. Raises pydantic.ValidationError for an unknown or impossible one."""
    metadata = body.get("metadata")
    stated = _stated(metadata if isinstance(metadata, dict) else {}, "demo_") | _stated(headers, "x-demo-")
    if not stated:
        return defaults
    return Order.model_validate(defaults.model_dump(exclude={"fault_times"}, exclude_none=True) | stated)


def _stated(source: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix).replace("-", "_"): value for name, value in source.items() if name.startswith(prefix)
    }


class Counts(BaseModel):
    """Tokens of one answer. `prompt` includes `cached`; `completion` is the sum over all choices."""

    model_config = ConfigDict(frozen=True)

    prompt: int
    cached: int
    completion_per_choice: int
    choices: int
    cut_short: bool
    """Whether `max_tokens` ended the answer."""

    @property
    def completion(self) -> int:
        return self.completion_per_choice * self.choices


def count(order: Order, *, text: str, body_bytes: int, max_tokens: int | None, choices: int) -> Counts:
    """Decide the tokens of an answer.

    Unless ordered: a prompt token for every four bytes of message text, never more than the body has bytes + 16, which
    is what the gateway reserves for; 32 completion tokens a choice. Never more than `max_tokens` a choice.
    """
    prompt = order.prompt_tokens
    if prompt is None:
        guess = -(-len(text.encode()) // _BYTES_PER_TOKEN)
        prompt = min(max(guess, 1), body_bytes + _PROMPT_EXCESS_MAX)
    wanted = _COMPLETION_TOKENS if order.completion_tokens is None else order.completion_tokens
    completion = wanted if max_tokens is None else min(wanted, max_tokens)
    return Counts(
        prompt=prompt,
        cached=min(order.cached_tokens or 0, prompt),
        completion_per_choice=completion,
        choices=choices,
        cut_short=completion < wanted,
    )
