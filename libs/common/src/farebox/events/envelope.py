"""CloudEvents binary mode: how an event becomes a Kafka record and a record an event again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

CONTENT_TYPE: Final = "application/json"
SPEC_VERSION: Final = b"1.0"

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Instants of the contract lie in [EARLIEST, LATEST): none of them overflows a calendar, whatever zone it meets."""

Instant = Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST)]

EventType: TypeAlias = type["CloudEvent"]


class CloudEvent(BaseModel):
    """A versioned event type. Subclasses set `type`, the topic is chosen by the publisher.

    Unknown fields are ignored on reading: within a version a newer producer may add fields.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]

    _types: ClassVar[dict[str, EventType]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "type" in cls.__dict__:
            CloudEvent._types[cls.type] = cls

    @staticmethod
    def registry() -> Mapping[str, EventType]:
        """Every event type of the contract by its name, `farebox.….v1`."""
        return CloudEvent._types


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event with its CloudEvents attributes. `time` is when it happened, by the producer's clock."""

    id: UUID
    source: str
    time: datetime
    subject: str
    event: CloudEvent


class Undecodable(ValueError):
    """A record that is no event of this contract. `reason` is a stable word for headers and metrics.

    Reasons: no_value, not_an_event, unknown_type, unknown_version, bad_attribute, invalid_event.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


def headers_of(envelope: Envelope) -> tuple[tuple[str, bytes], ...]:
    """The Kafka headers of an event, in CloudEvents' order."""
    return (
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", str(envelope.id).encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_type", envelope.event.type.encode()),
        ("ce_time", envelope.time.isoformat().encode()),
        ("ce_subject", envelope.subject.encode()),
        ("content-type", CONTENT_TYPE.encode()),
    )


def value_of(event: CloudEvent) -> bytes:
    """The Kafka value of an event: its JSON, UTF-8."""
    return event.__pydantic_serializer__.to_json(event)


def decode(*, headers: Mapping[str, bytes], value: bytes | None) -> Envelope:
    """Read a record as an event. Raises Undecodable, with the reason a dead letter carries; nothing else.

    Strict: a number written as a string, a bool for a number or a timestamp for a time is no event of the contract.
    """
    if value is None:
        raise Undecodable("no_value", "the record has no value")
    model = _model(headers)
    if headers.get("ce_specversion") != SPEC_VERSION:
        raise Undecodable("bad_attribute", "ce_specversion must be 1.0")
    try:
        id_ = UUID(headers["ce_id"].decode())
        time = datetime.fromisoformat(headers["ce_time"].decode())
        source, subject = headers["ce_source"].decode(), headers["ce_subject"].decode()
    except (KeyError, ValueError, AttributeError) as error:  # AttributeError: a header that is no bytes
        raise Undecodable("bad_attribute", repr(error)) from error
    if time.tzinfo is None or not EARLIEST <= time < LATEST:
        raise Undecodable("bad_attribute", "ce_time is no instant from 1970 until 2200 with its offset from UTC")
    try:
        event = model.model_validate_json(value, strict=True)
    except ValidationError as error:
        raise Undecodable("invalid_event", _explain(error)) from error
    return Envelope(id_, source, time, subject, event)


def _model(headers: Mapping[str, bytes]) -> EventType:
    try:
        name = headers["ce_type"].decode()
    except (KeyError, ValueError, AttributeError):
        raise Undecodable("not_an_event", "no readable ce_type header") from None
    if model := CloudEvent.registry().get(name):
        return model
    stem = name.rpartition(".")[0]
    if any(known.rpartition(".")[0] == stem for known in CloudEvent.registry()):
        raise Undecodable("unknown_version", name)
    raise Undecodable("unknown_type", name)


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'event'}: {p['msg']}" for p in problems[:10])
