"""What is no attempt goes to the dead letters with its reason, and the rest goes on."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from farebox.events import Envelope, PriceListed, headers_of, value_of
from farebox.ids import new_id
from farebox.kafka import Message
from support.attempts import attempt, enveloped, message_of
from support.books import Books


async def test_poison_is_parted_from_the_rest_with_its_reason(books: Books) -> None:
    good = [attempt() for _ in range(11)]
    sound = enveloped(attempt())
    headers, value, topic = headers_of(sound), value_of(sound.event), books.names.requests
    now = datetime.now(UTC)
    listed = PriceListed(provider="openai", model="gpt-4o", rows=())

    def typed(type_: bytes) -> Message:
        return Message(topic, b"k", value, tuple((n, type_ if n == "ce_type" else v) for n, v in headers))

    bad = {
        "no_value": Message(topic, b"k", None, headers),
        "not_an_event": Message(topic, b"k", b"hello", ()),
        "invalid_event": Message(topic, b"k", value[:-9], headers),
        "unknown_type": typed(b"farebox.request.vanished.v1"),
        "unknown_version": typed(b"farebox.request.completed.v2"),
        "unexpected_type": Message.carrying(Envelope(new_id(), "test", now, "x", listed), topic=topic, key="k"),
        "bad_attribute": Message(topic, b"k", value, tuple(h for h in headers if h[0] != "ce_id")),
        "not_uuid7": message_of(attempt(uuid4(), started_at=now), topic),
        "id_mismatch": Message.carrying(enveloped(attempt(), new_id()), topic=topic, key="k"),
        "absurd_instant": message_of(attempt(UUID("ffffffff-ffff-7000-8000-000000000000"), started_at=now), topic),
        "nul_character": message_of(attempt(session="a\0b"), topic),
    }
    for event, (_, poison) in zip(good, bad.items(), strict=True):
        await books.publish(poison, message_of(event, topic))
    async with books.replica():
        await books.entries(len(good))
        dead = await books.dead(len(bad))
    reasons = {record.headers["farebox-dead-reason"].decode() for record in dead}
    assert reasons == set(bad)
