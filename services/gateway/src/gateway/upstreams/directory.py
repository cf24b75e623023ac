"""Where model calls may go: the operator's list of upstreams. A caller names a model, never an address."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, TypeAdapter, ValidationError, model_validator

from farebox.errors import Invalid, sentences
from farebox.events.usage import Name

Dialect: TypeAlias = Literal["openai", "anthropic"]
HeaderName = Annotated[str, Field(pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]+$", max_length=128)]

_NEVER_FORWARDED = frozenset(
    {"authorization", "x-api-key", "cookie", "host", "content-length", "connection", "transfer-encoding"}
)


class UpstreamConfig(BaseModel):
    """One upstream as the routes file states it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Provider in events and metrics.")
    provider: Name = Field(description="Provider id in the price catalogue.")
    dialect: Dialect
    base_url: HttpUrl = Field(description="Up to and with the version, for example https://api.openai.com/v1.")
    api_key_file: Path | None = Field(default=None, description="A mounted secret; read once at start.")
    models: tuple[Name, ...] = Field(min_length=1, description="Names or patterns with `*`.")
    forward_headers: tuple[HeaderName, ...] = Field(default=(), description="Request headers passed on, lower case.")
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = Field(default=600.0, description="For a whole answer.")
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    output_limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="How a chat call without a limit of its own is given one."
    )
    on_disconnect: Literal["finish", "cancel"] = Field(
        default="cancel",
        description="A stream whose caller has gone: read to its end, for its usage, or soon closed.",
    )
    send_attempt_id: bool = Field(default=False, description="Send `x-farebox-attempt`.")

    @model_validator(mode="after")
    def _forwards_no_credentials(self) -> Self:
        if wrong := _NEVER_FORWARDED & set(self.forward_headers):
            raise ValueError(f"forward_headers may not hold {', '.join(sorted(wrong))}")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """An upstream with its secret."""

    config: UpstreamConfig
    api_key: SecretStr | None
    forwarded: tuple[tuple[str, bytes], ...] = ()
    """Names of the headers that are passed on, as text and as ASGI has them."""

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def provider(self) -> str:
        return self.config.provider

    @property
    def dialect(self) -> Dialect:
        return self.config.dialect

    def serves(self, model: str) -> bool:
        """Whether a name or pattern of its list fits."""
        return any(fnmatchcase(model, pattern) for pattern in self.config.models)


class Directory:
    """All upstreams, in the order of the file: the first that serves a model in a dialect gets the call."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self.upstreams = tuple(upstreams)
        self.find = lru_cache(maxsize=4096)(self._find)

    def _find(self, dialect: Dialect, model: str) -> Upstream | None:
        return next((u for u in self.upstreams if u.dialect == dialect and u.serves(model)), None)

    def models(self, known: Iterable[tuple[str, Sequence[str]]]) -> list[tuple[str, str]]:
        """(model, upstream name) of every model that can be named; `known` has the priced models of a provider.

        A pattern stands for the priced models that it fits.
        """
        priced = dict(known)
        found: dict[str, str] = {}
        for upstream in self.upstreams:
            for pattern in upstream.config.models:
                names = [pattern] if "*" not in pattern else priced.get(upstream.provider, ())
                for name in names:
                    if fnmatchcase(name, pattern):
                        found.setdefault(name, upstream.name)
        return sorted(found.items())


_FILE: TypeAdapter[tuple[UpstreamConfig, ...]] = TypeAdapter(tuple[UpstreamConfig, ...])


def read(path: Path) -> Directory:
    """The routes file and the secrets it names. Raises Invalid with every problem found in them."""
    try:
        configs = _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise Invalid([f"{path}: {sentence}" for sentence in sentences(error)]) from None
    problems: list[str] = []
    upstreams = [
        Upstream(config, _secret(config, problems), tuple((name, name.encode()) for name in config.forward_headers))
        for config in configs
    ]
    names = [config.name for config in configs]
    problems += [f"{path}: upstream {name} is listed twice" for name in {n for n in names if names.count(n) > 1}]
    if problems:
        raise Invalid(problems)
    return Directory(upstreams)


def _secret(config: UpstreamConfig, problems: list[str]) -> SecretStr | None:
    if config.api_key_file is None:
        return None
    try:
        return SecretStr(config.api_key_file.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{config.name}: api_key_file {config.api_key_file}: {error}")
        return None
