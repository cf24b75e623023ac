"""A model call as its caller made it, read once."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from gateway.dialects.body import parsed
from gateway.dialects.content import Content
from gateway.dialects.findings import Findings
from gateway.dialects.name import NAME_CHARS_MAX, is_name
from gateway.dialects.providers import table_of
from gateway.dialects.table import misspelt, walk
from gateway.dialects.tools import Tools, tools, with_uses
from gateway.errors import BadCall
from gateway.upstreams.directory import Dialect

Headers = Mapping[bytes, bytes]

CHOICES_MAX: Final = 128
MESSAGES_MAX: Final = 100_000
TOOLS_MAX: Final = 10_000
TAGS_MAX: Final = 20

_ATTRIBUTING: Final = frozenset(
    f"x-farebox-{name}".encode() for name in ("session", "feature", "endpoint", "tags", "cache-hit")
)
_LIMIT_FIELDS: Final[Mapping[Dialect, tuple[str, ...]]] = {
    "openai": ("max_completion_tokens", "max_tokens"),
    "anthropic": ("max_tokens",),
}
_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


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
    provider searches the web for the answer. `makes` are the media asked for beside text: audio, image. `predicts` says
    that the body predicts the answer: what of that is not used is billed as output beyond the limit. `unbounded` are
    fields that no table knows, by their paths, and objects of unknown kinds, as `messages[0].content[1]:input_file`.
    """

    dialect: Dialect
    written: bytes
    body: dict[str, Any]
    model: str
    is_streamed: bool
    wants_usage: bool
    choices: int
    output_limit: int | None
    writes_cache: bool
    service_tier: str | None
    attribution: Attribution
    content: Content
    tools: Tools
    candidates: tuple[str, ...]
    speed: str | None
    geography: str | None
    searches: bool
    makes: frozenset[str]
    predicts: bool
    unbounded: tuple[str, ...]

    def states_limit(self, field: str) -> bool:
        return self.body.get(field) is not None

    def sent(
        self,
        *,
        output_limit: int | None,
        limit_field: str,
        service_tier: str | None = None,
        search_uses: int | None = None,
        moves_limit: bool = False,
    ) -> bytes:
        """The body for the provider: with another limit on its output, another service tier, and so many searches where
        it states no number, where they are not None, and with usage in its stream. `moves_limit`: from the field where
        the caller states it to `limit_field`.

        As it was written where nothing changes, some fields longer where it lacks them, written anew otherwise.
        """
        change: dict[str, object] = {}
        body = self.body
        if moves_limit:
            body = {name: value for name, value in body.items() if name not in _LIMIT_FIELDS[self.dialect]}
            change[limit_field] = output_limit
        elif output_limit is not None and output_limit != self.output_limit:
            fields = [name for name in _LIMIT_FIELDS[self.dialect] if self.states_limit(name)]
            change |= dict.fromkeys(fields or [limit_field], output_limit)
        if service_tier is not None:
            change["service_tier"] = service_tier
        if search_uses is not None:
            change["tools"] = with_uses(self.body["tools"], search_uses)
        adds_usage = self.dialect == "openai" and self.is_streamed and not self.wants_usage
        if not change and not adds_usage:
            return self.written
        if adds_usage:
            options = self.body.get("stream_options")
            change["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        if body is self.body and body.keys().isdisjoint(change):
            return orjson.dumps(change)[:-1] + b"," + self.written[1:]
        return orjson.dumps(body | change)


class Body(NamedTuple):
    """A body that is JSON and names a model: enough to know where the call would go."""

    written: bytes
    fields: dict[str, Any]
    model: str


def body_of(raw: bytes) -> Body:
    """Raises BadCall."""
    fields, written = parsed(raw)
    model = fields.get("model")
    if not is_name(model):
        _refuse_misspelt(fields, "model")
        raise BadCall("`model` must be the name of a model", param="model")
    return Body(written, fields, model)


def read(dialect: Dialect, raw: bytes, headers: Headers, *, max_tokens_limit: int, provider: str = "") -> Call:
    """A body and its headers. Raises BadCall."""
    return call_of(dialect, body_of(raw), headers, max_tokens_limit=max_tokens_limit, provider=provider)


def call_of(dialect: Dialect, body: Body, headers: Headers, *, max_tokens_limit: int, provider: str) -> Call:
    """The call, read along the tables of its dialect and of the provider. Raises BadCall with the field's name."""
    written, fields, model = body
    found = Findings()
    walk(fields, table_of(dialect, provider), None, found)
    _check_lists(fields)
    return Call(
        dialect=dialect,
        written=written,
        body=fields,
        model=model,
        is_streamed=_flag(fields, "stream"),
        wants_usage=_wants_usage(fields),
        choices=_choices(fields) if dialect == "openai" else 1,
        output_limit=_output_limit(dialect, fields, _least_output(dialect, provider), max_tokens_limit),
        writes_cache=_writes_cache(dialect, body, found.candidates),
        service_tier=_word(fields, "service_tier"),
        attribution=NO_ATTRIBUTION if _ATTRIBUTING.isdisjoint(headers) else attribution(headers),
        content=found.content(written),
        tools=tools(found, fields),
        candidates=tuple(found.candidates),
        speed=_word(fields, "speed"),
        geography=_word(fields, "inference_geo"),
        searches=found.searches,
        makes=frozenset(found.makes),
        predicts=found.predicts,
        unbounded=tuple(found.unbounded.values()),
    )


def _refuse_misspelt(fields: Mapping[str, Any], meant: str) -> None:
    for name in fields:
        if name.casefold() == meant and name != meant:
            raise misspelt((None, name), meant)


def _check_lists(fields: Mapping[str, Any]) -> None:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadCall("`messages` must be a list that is not empty", param="messages")
    _check_length("messages", messages, MESSAGES_MAX)
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise BadCall(f"`messages[{index}]` must be an object", param="messages")
    for name in ("tools", "functions"):
        if (value := fields.get(name)) is not None:
            _check_length(name, value, TOOLS_MAX)


def _check_length(name: str, value: Any, most: int) -> None:
    if not isinstance(value, list):
        raise BadCall(f"`{name}` must be a list", param=name)
    if len(value) > most:
        raise BadCall(f"`{name}` must have at most {most} entries", param=name)


def _writes_cache(dialect: Dialect, body: Body, candidates: Iterable[str]) -> bool:
    """Whether the provider may write its cache for a fee: OpenAI's newer models do so unasked, Anthropic's never."""
    written = body.written
    if b"cache_" in written and (b'"cache_control"' in written or b'"prompt_cache_breakpoint"' in written):
        return True
    if dialect == "anthropic" or all("claude" in model for model in (body.model, *candidates)):
        return False
    options = body.fields.get("prompt_cache_options")
    return not isinstance(options, dict) or options.get("mode") != "explicit"


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


def _least_output(dialect: Dialect, provider: str) -> int:
    """Anthropic takes 0: the prompt goes into its cache, and nothing is answered. Others may read it as no limit."""
    return 0 if dialect == provider == "anthropic" else 1


def _output_limit(dialect: Dialect, body: Mapping[str, Any], least: int, most: int) -> int | None:
    """The greatest of the limits stated, because which one a provider obeys is its own affair."""
    found: int | None = None
    for name in _LIMIT_FIELDS[dialect]:
        value = body.get(name)
        if value is None:
            continue
        if type(value) is not int or not least <= value <= most:
            raise BadCall(f"`{name}` must be an integer from {least} to {most}", param=name)
        found = value if found is None else max(found, value)
    return found


def _word(body: Mapping[str, Any], name: str) -> str | None:
    """A name of a tier, a speed, a region: short and plain, because it goes into events."""
    word = body.get(name)
    if word is None or (isinstance(word, str) and _WORD.fullmatch(word)):
        return word
    raise BadCall(f"`{name}` must be a word of at most 64 letters, digits, dots and dashes", param=name)


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
    if len(tags) > TAGS_MAX or not all(len(name) <= 64 and is_name(name) and _is_tag(text) for name, text in tags):
        raise BadCall(
            f"{header.decode()} must be at most {TAGS_MAX} pairs `name=value` of printable text", param=header.decode()
        )
    return tags


def _is_tag(text: str) -> bool:
    return not text or is_name(text)


def _text(value: bytes, header: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadCall(f"{header.decode()} must be UTF-8", param=header.decode()) from None
