"""Every metric of the Kafka parts. Names and labels are an interface."""

from collections.abc import Iterable, Mapping
from typing import Final, Protocol
from weakref import WeakSet

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONSUMED: Final = Counter("farebox_kafka_consumed_records", "Records whose handling is done.", ["group", "topic"])
REJECTED: Final = Counter(
    "farebox_kafka_rejected_records", "Records sent to the dead-letter topic.", ["topic", "reason"]
)
RETRIES: Final = Counter("farebox_kafka_retries", "Batches handed over again after a fault.", ["group", "fault"])
FAULTS: Final = Gauge(
    "farebox_kafka_batch_faults", "Times in a row that the batch in hand has failed; 0 when batches pass.", ["group"]
)
BATCH_RECORDS: Final = Histogram(
    "farebox_kafka_batch_records",
    "Records in one batch.",
    ["group"],
    buckets=(1, 10, 100, 500, 1_000, 2_000, 5_000),
)
HANDLER_SECONDS: Final = Histogram(
    "farebox_kafka_handler_seconds",
    "Time a handler took for one batch.",
    ["group"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
PRODUCED: Final = Counter("farebox_kafka_produced_messages", "Messages acknowledged by the broker.", ["topic"])
UNDELIVERED: Final = Counter("farebox_kafka_undelivered_sends", "Sends that failed or timed out.", ["client"])
REPLACED: Final = Counter("farebox_kafka_producers_replaced", "Producers given up for a fresh one.", ["client"])
CONNECTED: Final = Gauge("farebox_kafka_producer_connected", "1 while the producer is connected.", ["client"])
SKIPPED: Final = Counter(
    "farebox_kafka_broadcast_skipped_records", "Broadcast records that could not be taken.", ["topic"]
)


class Lagging(Protocol):
    """A subscription, as far as this module is concerned."""

    group_id: str

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Records behind the end of each assigned partition, by (topic, partition)."""
        ...


class _Lag(Collector):
    """Reads the lag when it is scraped."""

    def __init__(self) -> None:
        self.subscriptions: WeakSet[Lagging] = WeakSet()

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "farebox_kafka_lag_records",
            "Records not yet handled, by partition held by this process.",
            labels=["group", "topic", "partition"],
        )
        for subscription in list(self.subscriptions):
            for (topic, partition), records in subscription.lag().items():
                family.add_metric([subscription.group_id, topic, str(partition)], records)
        yield family


_LAG: Final = _Lag()
REGISTRY.register(_LAG)


def watch_lag(subscription: Lagging) -> None:
    """Let this subscription's lag appear in the scrape for as long as it lives."""
    _LAG.subscriptions.add(subscription)
