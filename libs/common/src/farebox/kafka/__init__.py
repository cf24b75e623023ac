"""Kafka as every service uses it: at least once, in the order of a key, with dead letters, alive without the broker.

    producer = Producer(settings.kafka_bootstrap, client_id="metering")
    broker = make_broker(settings.kafka_bootstrap, client_id="metering")
    subscribe(broker, "request.completed", group_id="metering", handle=handler, producer=producer)
    prices = Broadcast(settings.kafka_bootstrap, "price.catalogue", client_id="gateway", handle=learn)

    async with producer, broker, prices:  # returns at once; connecting goes on in the background
        await broker.start()
        ...
        live = lambda: alive(producer, broker, prices)
        ready = lambda: unready(producer, broker, prices)

What it promises: a handler sees every record at least once, each partition's records in order; offsets are committed
after the handler's effect and after its dead letters are acknowledged. What it does not promise: that a handler sees a
record only once (effects must be idempotent), or that two members of a group never overlap during a rebalance.
"""

from farebox.kafka.broadcast import Broadcast
from farebox.kafka.broker import Broker, make_broker
from farebox.kafka.liveness import Watched, alive, unready
from farebox.kafka.offsets import Offsets
from farebox.kafka.producer import MessageTooLarge, Producer, Undelivered
from farebox.kafka.record import Message, Record, Rejected
from farebox.kafka.subscriber import Delivery, Subscription, subscribe

__all__ = [
    "Broadcast",
    "Broker",
    "Delivery",
    "Message",
    "MessageTooLarge",
    "Offsets",
    "Producer",
    "Record",
    "Rejected",
    "Subscription",
    "Undelivered",
    "Watched",
    "alive",
    "make_broker",
    "subscribe",
    "unready",
]
