"""The topics, their keys and their shape on the broker. Created explicitly, never by a first write.

`python -m farebox.topics create --bootstrap HOST:PORT` makes the missing ones and leaves existing ones alone.
"""

import argparse
import asyncio
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: retention in milliseconds, or compacted (the newest record of each key is kept for ever)."""

    name: str
    partitions: int
    retention_ms: int | None

    @property
    def dead(self) -> str:
        """Where records go that no handler can take: original bytes and headers, and the reason."""
        return f"{self.name}.dead"


REQUEST_COMPLETED: Final = Topic("request.completed", 12, 30 * _DAY_MS)
USAGE_PRICED: Final = Topic("usage.priced", 12, 30 * _DAY_MS)
BUDGET_EVENTS: Final = Topic("budget.events", 6, 90 * _DAY_MS)
BUDGET_BALANCES: Final = Topic("budget.balances", 6, None)
PRICE_CATALOGUE: Final = Topic("price.catalogue", 1, None)
ACCOUNT_POLICY: Final = Topic("account.policy", 3, None)
USAGE_ANOMALY: Final = Topic("usage.anomaly", 3, 30 * _DAY_MS)

ALL: Final = (
    REQUEST_COMPLETED,
    USAGE_PRICED,
    BUDGET_EVENTS,
    BUDGET_BALANCES,
    PRICE_CATALOGUE,
    ACCOUNT_POLICY,
    USAGE_ANOMALY,
)
SAFE_REPLICATION: Final = 3
DEAD_RETENTION_MS: Final = 90 * _DAY_MS
DEAD_BYTES_MAX: Final = 2_100_000
"""A dead letter is larger than its original, which may be at the broker's limit for a message."""

_BY_THE_BROKERS_CLOCK: Final = {"message.timestamp.type": "LogAppendTime"}
"""By a producer's clock, Kafka would refuse what comes from a machine that is an hour ahead, and delete for its age
what comes from one that is far behind."""


async def create(bootstrap: str, *, replication: int) -> list[str]:
    """Create every missing topic and its dead-letter topic; returns the names made now.

    Raises aiokafka.errors.KafkaError when the broker is away or refuses one.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=30_000)
    await admin.start()
    try:
        response = await admin.create_topics(_new_topics(replication), timeout_ms=30_000)
    finally:
        await admin.close()
    made = []
    for name, code, *_ in response.topic_errors:
        error = for_code(code)
        if code == 0:
            made.append(name)
        elif error is not TopicAlreadyExistsError:
            raise error(f"topic {name}")
    return made


def _new_topics(replication: int) -> list[NewTopic]:
    safe = _acknowledged_by(replication)
    live = [NewTopic(t.name, t.partitions, replication, topic_configs=_configs(t) | safe) for t in ALL]
    buried = {**_BY_THE_BROKERS_CLOCK, "retention.ms": str(DEAD_RETENTION_MS), "max.message.bytes": str(DEAD_BYTES_MAX)}
    dead = [NewTopic(t.dead, 1, replication, topic_configs=buried | safe) for t in ALL]
    return live + dead


def _acknowledged_by(replication: int) -> dict[str, str]:
    """Two replicas have what is acknowledged, where one of three may be away; one broker has no other to wait for.

    Kafka's own default is one: a leader alone acknowledges, dies, and the next leader never had it.
    """
    return {"min.insync.replicas": "2"} if replication >= SAFE_REPLICATION else {}


def _configs(topic: Topic) -> dict[str, str]:
    if topic.retention_ms is None:
        return {**_BY_THE_BROKERS_CLOCK, "cleanup.policy": "compact"}
    return {**_BY_THE_BROKERS_CLOCK, "retention.ms": str(topic.retention_ms)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox.topics", description=__doc__)
    parser.add_argument("command", choices=["create"])
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT")
    parser.add_argument("--replication", type=int, default=1)
    arguments = parser.parse_args()
    for name in asyncio.run(create(arguments.bootstrap, replication=arguments.replication)):
        print(f"created {name}")  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
