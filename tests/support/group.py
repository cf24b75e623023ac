"""Members of a consumer group, in this process, that a test starts and stops."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from farebox.kafka import Broker, Delivery, Offsets, Producer, Record, Rejected, Subscription, make_broker, subscribe
from farebox.kafka.backoff import Backoff

Handler = Callable[[Sequence[Record]], Awaitable[Sequence[Rejected]]]
QUICK = Delivery(poll_ms=20, retry=Backoff(base_s=0.01, cap_s=0.2))


@dataclass
class Member:
    """One member of the group."""

    subscription: Subscription
    broker: Broker

    async def stop(self) -> None:
        await self.broker.stop()

    @property
    def partitions(self) -> int:
        consumer = self.subscription.subscriber.consumer
        return 0 if consumer is None else len(consumer.assignment())


class Group:
    """One consumer group on one topic."""

    def __init__(self, bootstrap: str, topic: str, producer: Producer) -> None:
        self.id = f"group.{topic}"
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer = producer
        self._members: list[Member] = []

    async def join(
        self,
        handle: Handler,
        *,
        delivery: Delivery = QUICK,
        instance_id: str | None = None,
        offsets: Offsets | None = None,
    ) -> Member:
        """A member on its way in; returns at once."""
        broker = make_broker(self._bootstrap, client_id="member")
        subscription = subscribe(
            broker,
            self._topic,
            group_id=self.id,
            handle=handle,
            producer=self._producer,
            delivery=delivery,
            instance_id=instance_id,
            offsets=offsets,
        )
        await broker.start()
        self._members.append(Member(subscription, broker))
        return self._members[-1]

    async def stop(self) -> None:
        for member in self._members:
            await member.stop()


@asynccontextmanager
async def grouped(bootstrap: str, topic: str, producer: Producer) -> AsyncIterator[Group]:
    """A group whose members stop with the test."""
    group = Group(bootstrap, topic, producer)
    try:
        yield group
    finally:
        await group.stop()
