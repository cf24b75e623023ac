"""A model call: how it is drawn from a seed, what it may cost, and what became of it.

What a provider bills is ordered with the call: mostly less than the gateway reserves, exactly the reserve in one call
of ten, and now and then more. The reserve of a call without pictures is `cost(bytes of the body + 16, max_tokens × n)`
(services/gateway/README.md); the body is written without spaces, so that there is one way to count its bytes.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, assert_never

from chaos.budgets import Target
from chaos.tariff import MEDIA_TOKENS, PRIMING_TOKENS, SNAPSHOTS, Tariff
from chaos.tenants import Key, Tenant

_FILLER: Final = "What does this call cost, and who pays for it? "
_FAULTS: Final = ("http_500", "http_429", "cut_before_usage", "no_usage", "hang", "malformed")
_MODELS: Final = ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o-mini", "claude-haiku-4-5")
_FEATURES: Final = (None, None, "search", "chat")
_PICTURE: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_TOOL: Final = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "where"}, "day": {"type": "string"}},
    "required": ["city"],
}
_PLACEHOLDER: Final = "0000000"
RESERVED_FOR_MEDIA_MAX: Final = 100_000
"""More than any gateway reserves for a picture, in tokens: by so much a refusal of one may be explained."""
RESERVED_FOR_TOOLS_MAX: Final = 2_000
"""The same for what comes with a tool."""


@dataclass(slots=True, eq=False)
class Call:
    """One call. Times are monotonic seconds, `least` and `worst` billed nano; `status` is None where no answer came.

    `input_bound` and `output_bound` are the tokens that a gateway must have reserved for.
    """

    id: str
    tenant: Tenant
    key: Key
    gateway: str
    model: str
    streamed: bool
    fault: str | None
    least: int
    worst: int
    input_bound: int
    output_bound: int
    began: float
    feature: str | None = None
    ordered_tokens: int = 0
    """What the provider was told to bill."""
    ended: float = 0.0
    status: int | None = None
    code: str = ""
    billed: int | None = None
    is_whole: bool = False
    room: int | None = None
    """Of a refusal for money: what the tightest budget had left beyond this call; below 0 where it was right."""

    @property
    def target(self) -> Target:
        return Target(provider_of(self.model), self.model, self.feature)

    @property
    def tokens(self) -> int:
        return self.input_bound + self.output_bound

    @property
    def is_answered(self) -> bool:
        return self.status == 200 and self.is_whole

    @property
    def is_reported(self) -> bool:
        """Whether the gateway was told what the call used, and lived to say so."""
        return self.is_answered and self.fault is None

    def as_dict(self) -> dict[str, Any]:
        return {"org": self.tenant.org, "key": self.key.key_id} | {name: getattr(self, name) for name in _KEPT}


_KEPT: Final = (
    *("id", "gateway", "model", "feature", "streamed", "fault", "least", "worst", "input_bound", "output_bound"),
    *("began", "ended", "status", "code", "room", "is_whole", "billed"),
)


class Size(Enum):
    """What is billed for a call, beside what must have been reserved for it."""

    PLAIN = auto()
    EXACT = auto()
    ABOVE = auto()


@dataclass(frozen=True, slots=True)
class Mix:
    """How many calls of a hundred are of a kind."""

    faulty: float = 6
    exact: float = 10
    above: float = 1.5
    several_choices: float = 10
    pictures: float = 2
    tools: float = 10
    snapshots: float = 10


@dataclass(frozen=True, slots=True)
class Drawn:
    """A call as it goes over the wire. `call` without its gateway and its time."""

    call: Call
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Sketch:
    """What a call is to be, before it is written."""

    tenant: Tenant
    key: Key
    model: str
    fault: str | None
    choices: int
    max_tokens: int
    media: int
    feature: str | None
    size: Size


class Draw:
    """Draws calls. `models` is looked at for each: more models to ask for."""

    def __init__(
        self, chance: random.Random, tenants: Sequence[Tenant], models: Sequence[str], tariff: Tariff, mix: Mix
    ) -> None:
        self._chance = chance
        self._tenants = tenants
        self._models = models
        self._tariff = tariff
        self._mix = mix
        self._count = 0

    def next(self) -> Drawn:
        self._count += 1
        id_, sketch = f"call-{self._count}", self._sketch()
        body, orders = self._body(id_, sketch), self._orders(sketch)
        _name_orders(body, orders)
        bound = len(_json(body)) + PRIMING_TOKENS
        prompt = self._prompt(bound, sketch)
        _name_orders(body, {**orders, "demo_prompt_tokens": f"{prompt:0{len(_PLACEHOLDER)}d}"})
        beside = sketch.media * RESERVED_FOR_MEDIA_MAX + ("tools" in body) * RESERVED_FOR_TOOLS_MAX
        call = self._call(id_, sketch, bound + sketch.media * MEDIA_TOKENS, beside)
        call.streamed = body["stream"]
        call.ordered_tokens = prompt + int(orders["demo_completion_tokens"]) * sketch.choices
        return Drawn(call, _PATHS[provider_of(call.model)], _headers(call), _json(body))

    def _sketch(self) -> _Sketch:
        chance, mix = self._chance, self._mix
        tenant = chance.choice(self._tenants)
        model = chance.choice((*_MODELS, *self._models))
        fault = chance.choice(_FAULTS) if self._is(mix.faulty) else None
        has_several = provider_of(model) == "openai" and self._is(mix.several_choices)
        media = int(self._is(mix.pictures))
        return _Sketch(
            tenant=tenant,
            key=chance.choice(tenant.keys),
            model=model,
            fault=fault,
            choices=chance.choice((2, 3)) if has_several else 1,
            max_tokens=chance.randint(8, 60),
            media=media,
            feature=chance.choice(_FEATURES),
            size=self._size(fault, media),
        )

    def _size(self, fault: str | None, media: int) -> Size:
        """A bill above the reserve that nobody reports can never be counted, so those are reported."""
        if fault is None and not media and self._is(self._mix.above):
            return Size.ABOVE
        return Size.EXACT if self._is(self._mix.exact) else Size.PLAIN

    def _is(self, percent: float) -> bool:
        return self._chance.random() * 100 < percent

    def _body(self, id_: str, sketch: _Sketch) -> dict[str, Any]:
        chance = self._chance
        text = _FILLER * chance.randint(2, 16)
        is_openai = provider_of(sketch.model) == "openai"
        content: Any = [{"type": "text", "text": text}, _picture(is_openai=is_openai)] if sketch.media else text
        body: dict[str, Any] = {"model": sketch.model, "max_tokens": sketch.max_tokens}
        body |= {"stream": chance.random() < 0.5, "messages": [{"role": "user", "content": content}]}
        if self._is(self._mix.tools):
            body["tools"] = [_tool(is_openai=is_openai)]
        if sketch.choices > 1:
            body["n"] = sketch.choices
        return body | ({"user": id_, "metadata": {}} if is_openai else {"metadata": {"user_id": id_}})

    def _orders(self, sketch: _Sketch) -> dict[str, str]:
        chance = self._chance
        is_plain = sketch.size is Size.PLAIN
        orders = {
            "demo_prompt_tokens": _PLACEHOLDER,
            "demo_cached_tokens": str(chance.randint(0, 90) if is_plain and self._is(30) else 0),
            "demo_completion_tokens": str(chance.randint(1, sketch.max_tokens) if is_plain else sketch.max_tokens),
            "demo_latency_ms": str(chance.choice((0, 5, 20, 60, 200))),
            "demo_chunk_delay_ms": str(chance.choice((0, 0, 2, 8))),
        }
        if sketch.model in SNAPSHOTS and self._is(self._mix.snapshots):
            orders["demo_served_model"] = SNAPSHOTS[sketch.model]
        return orders | ({"demo_fault": sketch.fault} if sketch.fault else {})

    def _prompt(self, bound: int, sketch: _Sketch) -> int:
        match sketch.size:
            case Size.ABOVE:
                return bound * self._chance.randint(2, 4)
            case Size.EXACT:
                return bound + sketch.media * MEDIA_TOKENS
            case Size.PLAIN:
                picture = self._chance.randint(1, MEDIA_TOKENS)
                return self._chance.randint(1, bound // 4) + sketch.media * picture
            case unknown:
                assert_never(unknown)

    def _call(self, id_: str, sketch: _Sketch, bound: int, beside: int) -> Call:
        least, worst = self._bounds(sketch, bound, beside)
        return Call(
            id=id_,
            tenant=sketch.tenant,
            key=sketch.key,
            gateway="",
            model=sketch.model,
            streamed=False,
            fault=sketch.fault,
            least=least,
            worst=worst,
            input_bound=bound,
            output_bound=sketch.max_tokens * sketch.choices,
            began=0.0,
            feature=sketch.feature,
        )

    def _bounds(self, sketch: _Sketch, bound: int, beside: int) -> tuple[int, int]:
        """The least that admits the call and its worst case; a model that nobody has priced costs nothing.

        What a gateway reserves for pictures and tools is not known here, so the least that admits them is set high by
        so many tokens `beside`.
        """
        if not self._tariff.has(sketch.model):
            return 0, 0
        rates, fx = self._tariff.all(sketch.model), sketch.tenant.fx
        worst = max(rate.worst(bound, sketch.max_tokens * sketch.choices) for rate in rates) * fx
        fewest = min(16, sketch.max_tokens) * sketch.choices
        least = max(rate.worst(bound, fewest) for rate in rates) * fx if sketch.tenant.clamp else worst
        return least + beside * max(rate.input for rate in rates) * fx, worst


def provider_of(model: str) -> str:
    """The provider that serves a model of this run, as the price catalogue names it."""
    return "anthropic" if model.startswith("claude") else "openai"


_PATHS: Final = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


def _headers(call: Call) -> dict[str, str]:
    headers = {"authorization": f"Bearer {call.key.api_key}", "content-type": "application/json"}
    if provider_of(call.model) == "anthropic":
        headers["anthropic-version"] = "2023-06-01"
    if call.feature:
        headers["x-farebox-feature"] = call.feature
    return headers


def _name_orders(body: dict[str, Any], orders: Mapping[str, str]) -> None:
    body["metadata"] = {name: value for name, value in body["metadata"].items() if name == "user_id"} | dict(orders)


def _picture(*, is_openai: bool) -> dict[str, Any]:
    if is_openai:
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PICTURE}"}}
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PICTURE}}


def _tool(*, is_openai: bool) -> dict[str, Any]:
    if is_openai:
        return {"type": "function", "function": {"name": "weather", "description": "Of a day.", "parameters": _TOOL}}
    return {"name": "weather", "description": "Of a day.", "input_schema": _TOOL}


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
