"""Tells each budget threshold that is crossed. subscriber.py BOOTSTRAP [TOPIC [PARTITION:OFFSET to go back to …]]"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, TopicPartition

from farebox.events import ThresholdCrossed, Undecodable, decode
from farebox.money import decimal_text


async def main(bootstrap: str, topic: str = "budget.events", *places: str) -> None:
    seen: set[object] = set()  # forgotten at the end; a real one: a unique constraint, in its effect's transaction
    options = {"group_id": f"example.{topic}", "auto_offset_reset": "earliest", "enable_auto_commit": False}
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, **options) as consumer:
        for partition, offset in (map(int, place.split(":")) for place in places):
            consumer.seek(TopicPartition(topic, partition), offset)
        async for record in consumer:
            try:
                envelope = decode(headers=dict(record.headers), value=record.value)
                if isinstance(envelope.event, ThresholdCrossed) and envelope.id not in seen:
                    seen.add(envelope.id)
                    budget = envelope.event.budget
                    show, unit = (decimal_text, budget.currency) if budget.currency else (str, budget.measure)
                    spent = f"{budget.percent_spent} % spent, {show(budget.spent)} of {show(budget.limit)} {unit}"
                    print(f"{record.partition}:{record.offset} {budget.account.name}: {spent}", flush=True)
            except Undecodable as why:  # a type it does not know yet, or no event at all: shown, and on it goes
                print(f"{record.partition}:{record.offset} not understood: {why}", flush=True)
            await consumer.commit()  # last: after a crash before it, the record comes again


asyncio.run(main(*sys.argv[1:]))
