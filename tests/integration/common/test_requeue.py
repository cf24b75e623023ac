"""Dead letters go back once, as they were, and only those that can be read."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from farebox.kafka import Message, Producer, Record, Rejected
from farebox.kafka.dead import dead_letter
from farebox.kafka.requeue import Choice, execute, look
from support.attempts import attempt, message_of
from support.eventually import eventually
from support.group import Group
from support.records import Remembering, length, publish_old, read

SEND_S = 20.0
EVERY = Choice()


def buried(sent: Message, reason: str = "handler_error") -> Message:
    return dead_letter(Rejected(Record(sent.topic, 2, 7, 0, sent.key, sent.value, sent.headers), reason, "read-only"))


async def requeue(kafka: str, source: str, choice: Choice = EVERY) -> int:
    """As the command does; how many went back."""
    found = await look(kafka, source, choice)
    await execute(kafka, source, found.back)
    return len(found.back)


async def test_a_dead_letter_goes_back_as_it_was(kafka: str, source: str, producer: Producer) -> None:
    sent = message_of(attempt(), source)
    await producer.send([buried(sent)], SEND_S)
    assert await requeue(kafka, source) == 1
    (back,) = await read(kafka, source, 1)
    assert (back.key, back.value) == (sent.key, sent.value)
    assert back.raw_headers == (*sent.headers, ("farebox-requeued", f"{source}.dead/0/0".encode()))


async def test_what_is_back_does_not_go_back_again_unless_it_dies_again(
    kafka: str, source: str, producer: Producer, group: Group
) -> None:
    await producer.send([buried(message_of(attempt(), source))], SEND_S)
    assert [await requeue(kafka, source), await requeue(kafka, source)] == [1, 0]
    await group.join(Remembering(reject=lambda _: True))
    await eventually(lambda: has(kafka, f"{source}.dead", 2))
    await group.stop()
    assert [await requeue(kafka, source), await requeue(kafka, source)] == [1, 0]
    assert [len(back.raw_headers) for back in await read(kafka, source, 2)] == [8, 8]


async def test_what_cannot_be_read_stays(kafka: str, source: str, producer: Producer) -> None:
    poison = Message(source, b"k", b"{broken", (("ce_type", b"farebox.request.completed.v1"),))
    await producer.send([buried(poison), buried(message_of(attempt(), source))], SEND_S)
    found = await look(kafka, source, EVERY)
    assert (len(found.back), dict(found.staying)) == (1, {"bad_attribute": 1})


@pytest.mark.parametrize(
    ("choice", "takes"),
    [
        (Choice(reason="data_error"), ["data_error"]),
        (Choice(since=datetime.now(UTC) - timedelta(minutes=30)), ["data_error", "handler_error"]),
        (EVERY, ["old", "data_error", "handler_error"]),
    ],
)
async def test_reason_and_time_choose(
    kafka: str, source: str, producer: Producer, choice: Choice, takes: Sequence[str]
) -> None:
    await publish_old(kafka, buried(message_of(attempt(), source), "old"))
    await producer.send([buried(message_of(attempt(), source), reason) for reason in takes[-2:]], SEND_S)
    found = await look(kafka, source, choice)
    assert [letter.headers["farebox-dead-reason"].decode() for letter in found.back] == [*takes]


async def test_the_command_shows_what_it_would_do_and_does_it_when_told_to(
    kafka: str, source: str, producer: Producer
) -> None:
    await producer.send([buried(message_of(attempt(), source))], SEND_S)
    assert "back       1  handler_error" in await said(source, "--bootstrap", kafka)
    assert f"key=alice reason=handler_error dead={source}.dead/0/0" in await said(source, "--bootstrap", kafka)
    assert "1 put back" in await said(source, "--bootstrap", kafka, "--execute")
    assert "stay       1  put back before" in await said(source, "--bootstrap", kafka, "--reason", "handler_error")


async def said(*arguments: str) -> str:
    command = (sys.executable, "-m", "farebox.kafka.requeue", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def has(kafka: str, topic: str, count: int) -> bool:
    return await length(kafka, topic) == count
