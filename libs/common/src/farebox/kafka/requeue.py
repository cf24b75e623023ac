"""Dead letters back to their topic: `python -m farebox.kafka.requeue usage.priced --bootstrap HOST:PORT [--execute]`.

Only what can be read as an event now goes back, with its key and its headers. Without `--execute` it is only shown. A
record that went back names its dead letter in a header, so that none goes back twice unless it died again; whoever
handles it judges by its id, as with every record that comes twice.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiokafka.errors import KafkaError

from farebox.errors import FareboxError, Invalid
from farebox.events import Undecodable, decode
from farebox.kafka.consumer import Unreadable, WatchedConsumer
from farebox.kafka.dead import REASON, REQUEUED, SUFFIX, place_of, put_back
from farebox.kafka.producer import Producer
from farebox.kafka.record import Record

BATCH_RECORDS_MAX: Final = 500
SEND_TIMEOUT_S: Final = 30.0
POLL_MS: Final = 200
_CLIENT: Final = "farebox-requeue"
_PUT_BACK: Final = "put back before"
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: of one reason, or of any; died at `since` or later."""

    reason: str | None = None
    since: datetime = _BEGINNING

    def takes(self, letter: Record) -> bool:
        return letter.timestamp_ms >= _ms(self.since) and self.reason in (None, _reason(letter))


@dataclass(frozen=True, slots=True)
class Plan:
    """The dead letters that go back, in order, and how many stay, by why."""

    back: Sequence[Record]
    staying: Counter[str]


def plan(letters: Iterable[Record], returned: Collection[bytes]) -> Plan:
    """`returned` are the places of dead letters that are back already."""
    back: list[Record] = []
    staying: Counter[str] = Counter()
    for letter in letters:
        if place_of(letter) in returned:
            staying[_PUT_BACK] += 1
        elif problem := _undecodable(letter):
            staying[problem] += 1
        else:
            back.append(letter)
    return Plan(back, staying)


async def look(bootstrap: str, topic: str, choice: Choice) -> Plan:
    """What is to be done for a topic. Raises Invalid if it has no dead letters' topic."""
    letters = [letter async for some in _read(bootstrap, topic + SUFFIX, choice.since) for letter in some]
    letters = [letter for letter in letters if choice.takes(letter)]
    if not letters:
        return Plan([], Counter())
    first = datetime.fromtimestamp(min(letter.timestamp_ms for letter in letters) / 1000, UTC)
    returned = {
        record.headers[REQUEUED]
        async for some in _read(bootstrap, topic, first)
        for record in some
        if REQUEUED in record.headers
    }
    return plan(letters, returned)


async def execute(bootstrap: str, topic: str, letters: Sequence[Record]) -> None:
    """Put them back. Raises Undelivered: some may be back, and are known to be at the next look."""
    async with Producer(bootstrap, client_id=_CLIENT) as producer:
        for start in range(0, len(letters), BATCH_RECORDS_MAX):
            some = letters[start : start + BATCH_RECORDS_MAX]
            await producer.send([put_back(letter, topic) for letter in some], SEND_TIMEOUT_S)


async def _read(bootstrap: str, topic: str, since: datetime) -> AsyncIterator[list[Record]]:
    """What a topic has now of what was written to it at `since` or later."""
    consumer = WatchedConsumer(
        topic,
        bootstrap_servers=bootstrap,
        client_id=_CLIENT,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        check_crcs=True,
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        if not ends:
            raise Invalid(f"there is no topic {topic}")
        starts = await consumer.offsets_for_times(dict.fromkeys(ends, _ms(since)))
        for place, end in ends.items():
            consumer.seek(place, starts[place].offset if starts[place] else end)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for raw in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                yield [Record.of(record) for record in raw if not isinstance(record, Unreadable)]
    finally:
        await consumer.stop()


def _undecodable(letter: Record) -> str | None:
    try:
        decode(headers=letter.headers, value=letter.value)
    except Undecodable as error:
        return error.reason
    return None


def _reason(letter: Record) -> str:
    return letter.headers.get(REASON, b"").decode(errors="replace")


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def _report(topic: str, found: Plan) -> Iterator[str]:
    yield f"{topic}: {len(found.back)} dead letters can go back, {found.staying.total()} stay"
    for reason, count in sorted(Counter(map(_reason, found.back)).items()):
        yield f"  back  {count:>6}  {reason}"
    for reason, count in sorted(found.staying.items()):
        yield f"  stay  {count:>6}  {reason}"
    for letter in found.back:
        key = (letter.key or b"").decode(errors="replace")
        yield f"  key={key} reason={_reason(letter)} dead={place_of(letter).decode()}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox.kafka.requeue", description="Dead letters back.")
    parser.add_argument("topic", help="the topic they died on, without .dead")
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT")
    parser.add_argument("--reason", help="only dead letters of this reason")
    parser.add_argument("--since", type=_instant, default=_BEGINNING, help="only those that died then or later")
    parser.add_argument("--execute", action="store_true", help="put them back; else they are only shown")
    arguments = parser.parse_args()
    try:
        asyncio.run(_run(arguments))
    except (FareboxError, KafkaError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's answer
        raise SystemExit(2) from None


async def _run(arguments: argparse.Namespace) -> None:
    choice = Choice(arguments.reason, arguments.since)
    found = await look(arguments.bootstrap, arguments.topic, choice)
    print("\n".join(_report(arguments.topic, found)))  # noqa: T201
    if arguments.execute:
        await execute(arguments.bootstrap, arguments.topic, found.back)
        print(f"{len(found.back)} put back")  # noqa: T201
    elif found.back:
        print("nothing was changed: --execute puts them back")  # noqa: T201


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError("give its offset from UTC, as in 2026-03-02T12:00:00Z")
    return instant


if __name__ == "__main__":
    main()
