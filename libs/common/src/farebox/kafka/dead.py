"""Dead letters: the original bytes and headers on `<topic>.dead`, with the reason and the place they came from."""

from typing import Final

from farebox.kafka.record import Message, Record, Rejected

SUFFIX: Final = ".dead"
REASON: Final = "farebox-dead-reason"
REQUEUED: Final = "farebox-requeued"
"""Of a record that was put back: the place of its dead letter."""
_OWN: Final = "farebox-dead-"
DETAIL_CHARS_MAX: Final = 1_000
HANDLER_ERROR: Final = "handler_error"
"""Reason of a record at which the handler itself fails while others of its batch pass."""
DATA_ERROR: Final = "data_error"
"""Reason of a record whose values the database refuses while it takes those of others."""
UNREADABLE: Final = "unreadable"
"""Reason of a record that the client cannot decode. Its dead letter has only the place where the original is."""


def dead_letter(rejected: Rejected, *, keep_value: bool = True) -> Message:
    """The message for `<topic>.dead`.

    With `keep_value=False` (too large to carry) the value is null and `farebox-dead-value-bytes` tells its size; the
    original stays in the source topic, at the partition and offset the headers name, for that topic's retention.
    """
    record = rejected.record
    place = (
        (REASON, rejected.reason.encode()),
        ("farebox-dead-detail", rejected.detail[:DETAIL_CHARS_MAX].encode(errors="replace")),
        ("farebox-dead-topic", record.topic.encode()),
        ("farebox-dead-partition", b"%d" % record.partition),
        ("farebox-dead-offset", b"%d" % record.offset),
    )
    if keep_value:
        return Message(record.topic + SUFFIX, record.key, record.value, record.raw_headers + place)
    size = ("farebox-dead-value-bytes", b"%d" % len(record.value or b""))
    return Message(record.topic + SUFFIX, record.key, None, (*place, size))


def put_back(letter: Record, topic: str) -> Message:
    """The original of a dead letter, which names the letter it was."""
    original = [(name, value) for name, value in letter.raw_headers if not name.startswith(_OWN) and name != REQUEUED]
    return Message(topic, letter.key, letter.value, (*original, (REQUEUED, place_of(letter))))


def place_of(letter: Record) -> bytes:
    """Where a dead letter is, as a header's value: `usage.priced.dead/0/17`."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}".encode()
