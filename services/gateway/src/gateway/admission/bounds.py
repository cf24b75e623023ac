"""The most that a call can use, from what it says and what its vendor documents. Pure.

Everything a provider can bill is in one of four places: the text, by bytes; what is given to read beside it, by the
vendor's maximum; what the vendor adds (instructions for tools, results of searches); and the answer, by its limit. What
has no maximum of its own fills at most the model's context window.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from farebox.pricing import TEXT_BUCKETS, Bucket, Exposure
from farebox.pricing.capacity import Capacity
from gateway.dialects.call import Call
from gateway.dialects.content import Content
from gateway.dialects.usage import tokens_of
from gateway.vendors.vendor import Traits, Vendor

DEFAULT_OUTPUT_TOKENS: Final = 16_384
"""The output limit of a call that states none, until its account's own setting is known."""
PRIMING_TOKENS: Final = 16
"""What a provider adds to any prompt. The framing of messages is outweighed by that of their JSON, which is counted."""

_PLAIN_TIERS: Final = frozenset({"default", "standard", "standard_only", "on_demand"})
_PLAIN_SPEEDS: Final = frozenset({"standard"})
_NONE: Final[frozenset[str]] = frozenset()
_CACHE_WRITES: Final[frozenset[Bucket]] = frozenset({"cache_write_5m", "cache_write_1h"})
_SEEN_AND_HEARD: Final[frozenset[Bucket]] = frozenset({"audio_in", "image_in"})
_TEXT: Final[frozenset[Bucket]] = (TEXT_BUCKETS - _CACHE_WRITES) | {"image_out"}
"""A model that answers with pictures does so unasked; of others the rate is that of text."""
_CACHED_TEXT: Final = _TEXT | _CACHE_WRITES
_PLAIN: Final = Exposure(_TEXT, service_tiers=_NONE, speeds=_NONE, geographies=_NONE)
_PLAIN_CACHED: Final = _PLAIN._replace(buckets=_CACHED_TEXT)
_FORMATS: Final = frozenset({"response_format", "output_format", "output_config"})

_MADE: Final[Mapping[str, Bucket]] = {"audio": "audio_out", "image": "image_out"}

_NO_WINDOW: Final = (
    "How much `{model}` takes in is not known, so that nothing bounds {what}: name its `context_window` under "
    "`capacities` in the routes file of the gateway."
)
_NO_LONGEST: Final = (
    "How long an answer of `{model}` can be is not known: state `max_tokens`, or name its `max_output_tokens` under "
    "`capacities` in the routes file of the gateway."
)
_NO_END: Final = "`{model}` does by itself what no field of a call bounds."


class Bounds(NamedTuple):
    """The most a call can use: tokens of text in, tokens out for each choice, and what it is exposed to beside.

    `beside` are tokens billed as output that a limit on it does not bound. `likely` is a guess of the tokens in.
    `unbounded` says, in a sentence, why nothing bounds the call, `open_tool` which of its tools nothing bounds, as
    `tools:web_search`: such a call passes only where no hard budget has to hold.
    """

    input: int
    output: int
    choices: int = 1
    exposure: Exposure = _PLAIN
    searches: bool = False
    beside: int = 0
    likely: int = 0
    unbounded: str = ""
    open_tool: str = ""

    @property
    def tokens(self) -> int:
        """All of them."""
        within = self.input + self.exposure.audio_in + self.exposure.image_in
        return within + self.output * self.choices + self.beside


class _Media(NamedTuple):
    """Tokens of what is given to read. `is_open` says that some of it has no maximum."""

    images: int = 0
    audio: int = 0
    is_open: bool = False


class _Added(NamedTuple):
    """What the vendor adds for tools and forms: tokens of instructions, further turns of the model, billed calls."""

    tokens: int = 0
    turns: int = 0
    fees: tuple[tuple[str, int], ...] = ()
    open_tool: str = ""


_NOTHING_ADDED: Final = _Added()
_NO_MEDIA: Final = _Media()


def bounds(call: Call, model: str, traits: Traits, capacity: Capacity) -> Bounds:
    """What the call says, were `model` to answer it. Its output is its own limit, else the longest there can be."""
    vendor = traits.vendor
    media, added = _media(call.content, traits), _added(call, vendor)
    searches = call.searches or traits.finds is not None
    turns = added.turns + (searches and traits.finds is not False)
    shown = call.content.text_bytes + PRIMING_TOKENS + added.tokens
    longest = capacity.output or capacity.context or DEFAULT_OUTPUT_TOKENS
    found = Bounds(
        input=shown,
        output=longest if call.output_limit is None else call.output_limit,
        choices=call.choices,
        exposure=_exposure(call, vendor, media, added, turns),
        searches=searches,
        beside=_predicted(call),
        likely=tokens_of(shown) + media.images + media.audio,
        unbounded=_unbounded(call, model, traits, capacity, media.is_open, turns),
        open_tool=added.open_tool,
    )
    window = capacity.context
    if window is None or not (media.is_open or turns):
        return found
    read = max(shown + media.images + media.audio, window) if media.is_open else shown
    return found._replace(input=read + turns * window)


def limited(limits: Bounds, call: Call, longest: int | None, *, default: int, clamps: bool) -> Bounds:
    """The same with the output limit that the call gets: its own, which only an account that clamps lowers to the
    model's; or the account's default, or the model's if that is less."""
    if call.output_limit is None:
        output = min(default, longest or default)
    else:
        output = min(call.output_limit, longest or call.output_limit) if clamps else call.output_limit
    return limits if output == limits.output else limits._replace(output=output)


def _media(content: Content, traits: Traits) -> _Media:
    images = audio = 0
    is_open = bool(content.references or content.documents or content.videos)
    if not content.images and not content.audio:
        return _Media(is_open=True) if is_open else _NO_MEDIA
    for image in content.images:
        most = traits.small_image if image.detail == "low" else traits.image
        images += most or 0
        is_open = is_open or most is None
    for sound in content.audio:
        if sound.inline_bytes is None or traits.vendor.audio_bytes is None:
            is_open = True
        else:
            audio += sound.inline_bytes // traits.vendor.audio_bytes + 1
    return _Media(images, audio, is_open)


def _added(call: Call, vendor: Vendor) -> _Added:
    tools, body = call.tools, call.body
    tokens = 0 if body.keys().isdisjoint(_FORMATS) else vendor.format_prompt
    if not tools.functions and not tools.server:
        return _Added(tokens) if tokens else _NOTHING_ADDED
    tokens += vendor.tool_prompt + vendor.each_tool * (tools.functions + len(tools.server))
    turns = 0
    fees: list[tuple[str, int]] = []
    open_tool = ""
    for name, stated in tools.server.items():
        if name in vendor.client_tools:
            tokens += vendor.client_tools[name]
            continue
        key_policy = vendor.server_tools.get(name)
        uses = None if key_policy is None else stated or key_policy.uses
        if key_policy is None or uses is None:
            open_tool = f"tools:{name}"
            continue
        turns += uses
        if key_policy.fee is not None:
            fees.append((key_policy.fee, uses))
    return _Added(tokens, turns, tuple(fees), open_tool)


def _exposure(call: Call, vendor: Vendor, media: _Media, added: _Added, turns: int) -> Exposure:
    """A provider writes its cache only where asked, or between turns of its own; a tier or a speed above the standard
    one is served only where asked."""
    caches = call.writes_cache or turns
    if media is _NO_MEDIA and added is _NOTHING_ADDED and not call.makes and not _states_mode(call, vendor):
        return _PLAIN_CACHED if caches else _PLAIN
    buckets = _CACHED_TEXT if caches else _TEXT
    if media.is_open:
        buckets |= _SEEN_AND_HEARD
    made = frozenset(bucket for medium, bucket in _MADE.items() if medium in call.makes)
    buckets |= made
    return Exposure(
        buckets,
        audio_in=0 if media.is_open else media.audio,
        image_in=0 if media.is_open else media.images,
        service_tiers=_named(call.service_tier, _PLAIN_TIERS),
        speeds=_named(call.speed, _PLAIN_SPEEDS),
        geographies=_geographies(call, vendor),
        tool_calls=added.fees,
        made=made,
    )


def _states_mode(call: Call, vendor: Vendor) -> bool:
    return vendor.has_geographies or not (call.service_tier is call.speed is call.geography is None)


def _named(stated: str | None, plain: frozenset[str]) -> frozenset[str] | None:
    if stated is None or stated in plain:
        return _NONE
    return None if stated == "auto" else frozenset((stated,))


def _geographies(call: Call, vendor: Vendor) -> frozenset[str] | None:
    if call.geography is None:
        return None if vendor.has_geographies else _NONE
    return frozenset((call.geography,))


def _predicted(call: Call) -> int:
    """Tokens of a prediction that the answer does not use are billed as output."""
    return len(orjson.dumps(call.body.get("prediction"))) * call.choices if call.predicts else 0


def _unbounded(call: Call, model: str, traits: Traits, capacity: Capacity, is_open: bool, turns: int) -> str:
    if traits.is_unbounded:
        return _NO_END.format(model=model)
    if capacity.context is None and (is_open or turns):
        what = "the tools that the provider runs" if turns else "the media in this call"
        return _NO_WINDOW.format(model=model, what=what)
    if call.output_limit is None and capacity.output is None and capacity.context is None:
        return _NO_LONGEST.format(model=model)
    return ""
