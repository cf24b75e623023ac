"""What goes to Kafka, what comes from it, and what a handler refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from farebox.events import Envelope, headers_of, value_of

REVISION_HEADER: Final = "ce_revision"
"""A tombstone has no value to carry its revision in."""

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]
"""Headers as they are on the broker: a name may come twice, a value may be null."""


@dataclass(frozen=True, slots=True)
class Message:
    """One record to publish. Messages of one key keep their order; without a key any partition will do."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @classmethod
    def carrying(cls, envelope: Envelope, *, topic: str, key: str) -> "Message":
        """An event of the contract as a record: CloudEvents' binary mode."""
        return cls(topic, key.encode(), value_of(envelope.event), headers_of(envelope))


class Record(NamedTuple):
    """One record as consumed. A null `value` is a tombstone; `headers` is for reading, `raw_headers` for passing on."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    raw_headers: Headers

    @classmethod
    def of(cls, raw: Any) -> "Record":
        """From aiokafka's ConsumerRecord."""
        return cls(raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, tuple(raw.headers))

    @property
    def headers(self) -> Mapping[str, bytes]:
        """By name. A null value reads as empty; of a name that comes twice the last counts."""
        headers: dict[str, Any] = dict(self.raw_headers)
        return {name: value or b"" for name, value in headers.items()} if None in headers.values() else headers

    @property
    def deleted_as_of(self) -> int | None:
        """Of a tombstone: the revision as of which its key is gone; None where its header does not say."""
        text = self.headers.get(REVISION_HEADER, b"")
        return int(text) if text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record the handler can never take. `reason` is a metric label (few, fixed words), `detail` is for people."""

    record: Record
    reason: str
    detail: str
