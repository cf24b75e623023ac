import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from farebox.ids import new_id
from farebox.kafka import Message, Producer
from gateway.attempts.publisher import Publisher
from gateway.journal.journal import Journal
from gateway.journal.record import Entry
from gateway.shares.amount import Amount

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WORST, ACTUAL = b'{"of":"its worst case"}', b'{"of":"what it cost"}'


class FakeProducer:
    """Kafka that takes everything."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        self.sent += messages


@pytest.mark.parametrize("is_written", [True, False])
async def test_what_is_published_is_how_an_attempt_ended_whether_it_is_in_memory_or_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    monkeypatch.setattr("gateway.attempts.publisher.IN_MEMORY_MAX", 0)
    journal = Journal(tmp_path, segment_bytes=1 << 20, limit_bytes=1 << 30, spent=list, boot="boot")
    producer = FakeProducer()
    publisher = Publisher(cast("Producer", producer), journal)
    begun = Entry(new_id(), (), Amount(100), "ann", NOW, WORST)
    done = begun._replace(event=ACTUAL)
    intent = journal.intent(begun)
    publisher.add(done, journal.completed(done, intent) if is_written else intent, is_written=is_written)
    running = asyncio.create_task(publisher.run())
    assert await publisher.flush(10)
    running.cancel()
    journal.close()
    assert [message.value for message in producer.sent] == [ACTUAL]
