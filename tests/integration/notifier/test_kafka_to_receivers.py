from standardwebhooks import Webhook

from farebox.events import BalanceChanged
from farebox.ids import new_id
from farebox.kafka import Message, Producer
from notifier.app import consuming
from support.alerts import crossed, message, state
from support.eventually import eventually
from support.notifying import notifier_settings, open_notifying
from support.receivers import Hook, Inbox
from support.records import read
from support.topic import create_topics


async def test_an_event_on_kafka_becomes_a_mail_and_a_verified_webhook(
    kafka: str, dsn: str, inbox: Inbox, hook: Hook
) -> None:
    topic, event_id = f"budget.{new_id().hex}", new_id()
    await create_topics(kafka, {topic: 3, f"{topic}.dead": 1})
    settings = notifier_settings(dsn, inbox.port, kafka_bootstrap=kafka)
    async with open_notifying(settings) as notifying, Producer(kafka, client_id="budget") as producer:
        await notifying.mail_channel("minh@example.com")
        secret = (await notifying.webhook(hook.url))["secret"]
        async with consuming(settings, notifying.pool, notifying.worker, topic=topic, group_id=topic):
            await producer.send([message(crossed(), topic, event_id)], timeout_s=20)
            await eventually(lambda: len(inbox.mails) == len(hook.bodies) == 1)
    assert inbox.mails[0]["Subject"] == "[Cảnh báo] Monthly budget: đã dùng 75,0%"
    assert Webhook(secret).verify(hook.bodies[0], hook.headers[0])["type"] == "farebox.budget.threshold_crossed.v1"
    assert hook.ids() == [str(event_id)]


async def test_what_is_no_alert_goes_to_the_dead_letters_and_the_rest_goes_on(
    kafka: str, dsn: str, inbox: Inbox
) -> None:
    topic = f"budget.{new_id().hex}"
    await create_topics(kafka, {topic: 1, f"{topic}.dead": 1})
    settings = notifier_settings(dsn, inbox.port, kafka_bootstrap=kafka)
    balance = BalanceChanged(budget=state())
    records = [Message(topic, None, b"{"), message(balance, topic), message(crossed(), topic)]
    async with open_notifying(settings) as notifying, Producer(kafka, client_id="budget") as producer:
        await notifying.mail_channel("minh@example.com")
        async with consuming(settings, notifying.pool, notifying.worker, topic=topic, group_id=topic):
            await producer.send(records, timeout_s=20)
            await eventually(lambda: len(inbox.mails) == 1)
    dead = await read(kafka, f"{topic}.dead", 2)
    assert [letter.headers["farebox-dead-reason"] for letter in dead] == [b"not_an_event", b"unexpected_type"]
