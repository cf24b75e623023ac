"""A model call as its caller made it, read once."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeGuard

import orjson

from gateway.dialects.content import Content, content_of
from gateway.dialects.tools import Tools, tools_of
from gateway.errors import BadCall
from gateway.upstreams.directory import Dialect

Headers = Mapping[bytes, bytes]

CHOICES_MAX: Final = 128
NAME_CHARS_MAX: Final = 256
TAGS_MAX: Final = 20

_ATTRIBUTING: Final = frozenset(
    f"x-farebox-{name}".encode() for name in ("session", "feature", "endpoint", "tags", "cache-hit")
)
_MEDIA: Final = frozenset({"image_url", "image", "input_audio", "file", "document", "video_url"})
_LIMIT_FIELDS: Final[Mapping[Dialect, tuple[str, ...]]] = {
    "openai": ("max_completion_tokens", "max_tokens"),
    "anthropic": ("max_tokens",),
}


class Attribution(NamedTuple):
    """What the caller says the call is for; all of it from `x-farebox-*` headers, none of it sent upstream."""

    session: str | None = None
    feature: str | None = None
    endpoint: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    cache_hit: bool = False


NO_ATTRIBUTION: Final = Attribution()


class Call(NamedTuple):
    """A well-formed call.

    `written` is the body as it goes out: parsed, and written anew as compact JSON; never the caller's bytes.
    `output_limit` is the caller's own; None where it states none. `candidates` are further models that may answer.
    `service_tier`, `speed` and `geography` are what the caller states, None where nothing. `searches` says that the
    provider searches the web for the answer. `makes` are the media asked for beside text: audio, image.
    `unbounded` are the paths of fields that no table knows.
    """

    dialect: Dialect
    written: bytes
    body: dict[str, Any]
    model: str
    is_streamed: bool
    wants_usage: bool
    choices: int
    output_limit: int | None
    media: int
    writes_cache: bool
    service_tier: str | None
    attribution: Attribution
    content: Content
    tools: Tools
    candidates: tuple[str, ...] = ()
    speed: str | None = None
    geography: str | None = None
    searches: bool = False
    makes: frozenset[str] = frozenset()
    unbounded: tuple[str, ...] = ()

    def sent(self, *, output_limit: int | None, limit_field: str, service_tier: str | None = None) -> bytes:
        """The body for the provider: with another limit on its output and another service tier, where they are not
        None, and with usage in its stream.

        As it was written where nothing changes, some fields longer where it lacks them, written anew otherwise.
        """
        change: dict[str, object] = {}
        if output_limit is not None and output_limit != self.output_limit:
            fields = [name for name in _LIMIT_FIELDS[self.dialect] if self.body.get(name) is not None]
            change |= dict.fromkeys(fields or [limit_field], output_limit)
        if service_tier is not None:
            change["service_tier"] = service_tier
        adds_usage = self.dialect == "openai" and self.is_streamed and not self.wants_usage
        if not change and not adds_usage:
            return self.written
        if adds_usage:
            options = self.body.get("stream_options")
            change["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        if self.body.keys().isdisjoint(change):
            return orjson.dumps(change)[:-1] + b"," + self.written[1:]
        return orjson.dumps(self.body | change)


def read(dialect: Dialect, raw: bytes, headers: Headers, *, max_tokens_limit: int) -> Call:
    """Raises BadCall with a sentence that names the field."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadCall("the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise BadCall("the body must be a JSON object")
    model = body.get("model")
    if not is_name(model):
        raise BadCall("`model` must be the name of a model", param="model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadCall("`messages` must be a list that is not empty", param="messages")
    written = orjson.dumps(body)
    makes = body.get("modalities")
    return Call(
        dialect=dialect,
        written=written,
        body=body,
        model=model,
        is_streamed=_flag(body, "stream"),
        wants_usage=_wants_usage(body),
        choices=_choices(body) if dialect == "openai" else 1,
        output_limit=_output_limit(dialect, body, max_tokens_limit),
        media=_media(messages),
        writes_cache=b'"cache_control"' in written,
        service_tier=_service_tier(body),
        attribution=NO_ATTRIBUTION if _ATTRIBUTING.isdisjoint(headers) else attribution(headers),
        content=content_of(body, written),
        tools=tools_of(body),
        candidates=tuple(name for name in body.get("models") or () if is_name(name)),
        speed=body.get("speed"),
        geography=body.get("inference_geo"),
        searches="web_search_options" in body,
        makes=frozenset(makes if isinstance(makes, list) else ()) - {"text"},
    )


def is_name(value: object) -> TypeGuard[str]:
    """Whether it can be a name in an event: printable text of at most NAME_CHARS_MAX characters."""
    return isinstance(value, str) and 0 < len(value) <= NAME_CHARS_MAX and value.isprintable()


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadCall(f"`{name}` must be true or false", param=name)


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise BadCall("`stream_options` must be an object", param="stream_options")
    return _flag(options, "include_usage")


def _choices(body: Mapping[str, Any]) -> int:
    choices = body.get("n")
    if choices is None:
        return 1
    if type(choices) is not int or not 1 <= choices <= CHOICES_MAX:
        raise BadCall(f"`n` must be an integer from 1 to {CHOICES_MAX}", param="n")
    return choices


def _output_limit(dialect: Dialect, body: Mapping[str, Any], most: int) -> int | None:
    """The greatest of the limits stated, because which one a provider obeys is its own affair."""
    found: int | None = None
    for name in _LIMIT_FIELDS[dialect]:
        value = body.get(name)
        if value is None:
            continue
        if type(value) is not int or not 1 <= value <= most:
            raise BadCall(f"`{name}` must be an integer from 1 to {most}", param=name)
        found = value if found is None else max(found, value)
    return found


def _media(messages: list[Any]) -> int:
    """Parts that are no text: their bytes say nothing about their tokens. Refuses messages of no known shape."""
    count = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadCall(f"`messages[{index}]` must be an object", param="messages")
        content = message.get("content")
        if type(content) is list:
            count += sum(1 for part in content if isinstance(part, dict) and part.get("type") in _MEDIA)
    return count


def _service_tier(body: Mapping[str, Any]) -> str | None:
    tier = body.get("service_tier")
    if tier is None or isinstance(tier, str):
        return tier
    raise BadCall("`service_tier` must be a string", param="service_tier")


def attribution(headers: Headers) -> Attribution:
    """From `x-farebox-session`, `-feature`, `-endpoint`, `-tags` (`a=b, c=d`), `-cache-hit`. Raises BadCall."""
    return Attribution(
        session=_name(headers, b"x-farebox-session"),
        feature=_name(headers, b"x-farebox-feature"),
        endpoint=_name(headers, b"x-farebox-endpoint"),
        tags=_tags(headers),
        cache_hit=headers.get(b"x-farebox-cache-hit", b"").lower() == b"true",
    )


def _name(headers: Headers, header: bytes) -> str | None:
    value = headers.get(header)
    if not value:
        return None
    name = _text(value, header)
    if not is_name(name):
        raise BadCall(
            f"{header.decode()} must be printable and have at most {NAME_CHARS_MAX} characters", param=header.decode()
        )
    return name


def _tags(headers: Headers) -> tuple[tuple[str, str], ...]:
    header = b"x-farebox-tags"
    value = headers.get(header)
    if not value:
        return ()
    pairs = [pair.partition("=") for pair in _text(value, header).split(",")]
    tags = tuple((name.strip(), text.strip()) for name, _, text in pairs)
    if len(tags) > TAGS_MAX or not all(name and len(name) <= 64 and len(text) <= NAME_CHARS_MAX for name, text in tags):
        raise BadCall(f"{header.decode()} must be at most {TAGS_MAX} pairs `name=value`", param=header.decode())
    return tags


def _text(value: bytes, header: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadCall(f"{header.decode()} must be UTF-8", param=header.decode()) from None
