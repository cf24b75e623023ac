"""The FastStream broker of a service: every delivery option said, and alive without Kafka."""

import asyncio
import logging
from functools import partial
from typing import Any, Final, Protocol

import structlog
from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy

from farebox.kafka.backoff import Backoff
from farebox.kafka.consumer import WatchedConsumer
from farebox.kafka.liveness import Watched, alive, unready

log = structlog.get_logger()

REQUEST_TIMEOUT_MS: Final = 40_000
GRACEFUL_TIMEOUT_S: Final = 15.0
"""How long a stop waits for the batch in hand."""
RECONNECT: Final = Backoff(base_s=0.2, cap_s=5.0)


class Member(Watched, Protocol):
    """A subscription, as far as its broker is concerned."""

    def leave(self) -> None:
        """Wait for nothing any more: the group is being left."""
        ...


class Broker(KafkaBroker):
    """A KafkaBroker whose `start` returns at once: its subscribers join in the background, for as long as it takes."""

    subscriptions: list[Member]
    _joining: list[asyncio.Task[None]]

    async def start(self) -> None:
        """Let the subscribers join their groups in the background. Does not need Kafka."""
        await self.connect()
        self._joining = [asyncio.create_task(_join(subscriber)) for subscriber in self.subscribers]
        self.running = True

    async def stop(
        self, exc_type: type[BaseException] | None = None, exc_val: BaseException | None = None, exc_tb: Any = None
    ) -> None:
        """Finish the batches in hand (at most GRACEFUL_TIMEOUT_S), commit them, leave the groups."""
        for subscription in self.subscriptions:
            subscription.leave()
        joining, self._joining = self._joining, []
        for task in joining:
            task.cancel()
        if joining:
            await asyncio.wait(joining)
        await super().stop(exc_type, exc_val, exc_tb)

    def problems(self) -> list[str]:
        return alive(*self.subscriptions)

    def unready(self) -> list[str]:
        return unready(*self.subscriptions)

    async def _connect(self) -> Any:
        await super()._connect()
        config = self.config.broker_config
        config.builder = partial(WatchedConsumer, **config.builder.keywords)  # type: ignore[attr-defined]  # a partial
        return config.builder


def make_broker(bootstrap: str, *, client_id: str) -> Broker:
    """A broker for `subscribe`. It has no producer and no admin client: publishing is `Producer`'s."""
    broker = Broker(
        bootstrap,
        client_id=client_id,
        consumer_only=True,
        allow_auto_create_topics=False,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=100,
        metadata_max_age_ms=60_000,
        connections_max_idle_ms=540_000,
        graceful_timeout=GRACEFUL_TIMEOUT_S,
        apply_types=False,
        logger=logging.getLogger("farebox.kafka"),
        log_level=logging.DEBUG,
    )
    broker.subscriptions = []
    broker._joining = []  # noqa: SLF001 - set here because KafkaBroker.__init__ has sixty parameters
    return broker


async def _join(subscriber: Any) -> None:
    attempt = 0
    while True:
        try:
            await subscriber.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, this subscriber must go on trying
            attempt += 1
            log.warning("subscriber_cannot_join", topics=subscriber.topic_names, attempt=attempt, error=repr(error))
            await subscriber.stop()
            await asyncio.sleep(RECONNECT.jittered_s(attempt))
        else:
            return
