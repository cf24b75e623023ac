"""The database takes no writes for a while, as in a failover: no alert dies of it, and all are told afterwards."""

from collections.abc import Awaitable, Callable

from farebox.ids import new_id
from farebox.kafka import Producer
from farebox.kafka.subscriber import HANDLER_ATTEMPTS
from farebox_local.postgres import GivenPostgres
from support.alerts import crossed, message
from support.eventually import eventually
from support.failover import read_only
from support.group import grouped
from support.notifying import notifier_settings, open_notifying
from support.receivers import Inbox
from support.records import Counted, length
from support.topic import create_topics


async def test_alerts_are_taken_up_after_the_database_was_read_only(
    database: Callable[[str], str],
    postgres: GivenPostgres,
    kafka: str,
    topic: Callable[..., Awaitable[str]],
    inbox: Inbox,
) -> None:
    dsn, source = database("notifier"), await topic("budget.events")
    await create_topics(kafka, {f"{source}.dead": 1})
    async with (
        open_notifying(notifier_settings(dsn, inbox.port)) as notifying,
        Producer(kafka, client_id="test") as producer,
        grouped(kafka, source, producer) as group,
    ):
        handler = Counted(notifying.handler)
        await group.join(handler)
        async with read_only(postgres.dsn(), dsn):
            for sent in range(1, 4):
                await producer.send([message(crossed(), source, new_id())], 30)
                await eventually(handler.called(sent * HANDLER_ATTEMPTS + 1))
        await eventually(lambda: notifying.pool.fetchval("SELECT count(*) = 3 FROM alert"))
    assert await length(kafka, f"{source}.dead") == 0
