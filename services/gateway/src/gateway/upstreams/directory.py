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
from farebox.pricing.capacity import Capacity, capacity_of
from gateway.vendors.directory import traits_of

Dialect: TypeAlias = Literal["openai", "anthropic"]
HeaderName = Annotated[str, Field(pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]+$", max_length=128)]

Tokens = Annotated[int, Field(ge=1, le=100_000_000)]

_NEVER_FORWARDED = frozenset(
    {"authorization", "x-api-key", "cookie", "host", "content-length", "connection", "transfer-encoding"}
)


class ModelCapacity(BaseModel):
    """What an operator knows of models that no catalogue lists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Name = Field(description="A name or a pattern with `*`.")
    context_window: Tokens | None = Field(default=None, description="Tokens taken in and given out together at most.")
    max_output_tokens: Tokens | None = Field(default=None, description="Tokens of the longest answer.")


class UpstreamConfig(BaseModel):
    """One upstream as the routes file states it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Provider in events and metrics.")
    provider: Name = Field(description="Provider id in the price catalogue.")
    dialect: Dialect
    base_url: HttpUrl = Field(description="Up to and with the version, for example https://api.openai.com/v1.")
    api_key_file: Path | None = Field(default=None, description="A mounted secret; read once at start.")
    models: tuple[Name, ...] = Field(min_length=1, description="Names or patterns with `*`.")
    may_serve: tuple[Name, ...] = Field(
        default=(), description="Names or patterns of cheaper models that may answer for others, at their own price."
    )
    forward_headers: tuple[HeaderName, ...] = Field(default=(), description="Request headers passed on, lower case.")
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = Field(default=600.0, description="For a whole answer.")
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    output_limit_field: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        default=None, description="How a chat call without a limit of its own is given one, if not as the vendor wants."
    )
    capacities: tuple[ModelCapacity, ...] = Field(default=(), description="The first that fits a model counts.")
    allow_fields: tuple[Name, ...] = Field(
        default=(),
        description="Fields without a known bound that pass under hard budgets all the same, as a refusal names them.",
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

    def limit_field(self, model: str) -> str:
        """The field in which a chat call without a limit of its own is given one."""
        return self.config.output_limit_field or traits_of(self.config.provider, model).limit_field

    def capacity(self, model: str) -> Capacity:
        """The operator's figures, and what the catalogues know where those leave something out."""
        listed = capacity_of(self.config.provider, model)
        for own in self.config.capacities:
            if fnmatchcase(model, own.models):
                return Capacity(own.context_window or listed.context, own.max_output_tokens or listed.output)
        return listed

    def serves(self, model: str) -> bool:
        """Whether a name or pattern of its list fits."""
        return any(fnmatchcase(model, pattern) for pattern in self.config.models)

    def may_serve(self, model: str) -> bool:
        """Whether it may answer for a dearer one, and is charged as itself then."""
        return any(fnmatchcase(model, pattern) for pattern in self.config.may_serve)

    def lets_through(self, field: str) -> bool:
        """Whether the operator answers for a field that no table knows."""
        return any(fnmatchcase(field, pattern) for pattern in self.config.allow_fields)


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
