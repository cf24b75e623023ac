"""Composition root: the only module that knows every part."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from farebox.clock import Clock, SystemClock
from farebox.errors import Transient
from farebox.http import api, health_routes, ops
from farebox.kafka import Broker, Producer, alive, make_broker, subscribe, unready
from farebox.postgres import migrate, open_pool
from farebox.process import serve
from farebox.topics import BUDGET_EVENTS
from notifier import retry
from notifier.address import Policy, system_resolver
from notifier.channel import Kind
from notifier.handlers import AlertHandler
from notifier.mail import MailSender, Relay
from notifier.retry import Schedule
from notifier.routes import Api
from notifier.seal import Seal
from notifier.settings import NotifierSettings
from notifier.store import Store
from notifier.webhook import WebhookSender
from notifier.worker import Pace, Worker

SCHEMA = "notifier"
GROUP = "notifier"
SCHEDULES: Mapping[Kind, Schedule] = {Kind.EMAIL: retry.MAIL, Kind.WEBHOOK: retry.WEBHOOK}


@dataclass(frozen=True, slots=True)
class Notifier:
    """The parts that run, and what they say about themselves."""

    store: Store
    worker: Worker
    broker: Broker
    producer: Producer
    api: Api

    def live(self) -> list[str]:
        return alive(self.producer, self.broker) + self.worker.problems()

    async def ready(self) -> list[str]:
        lacking = unready(self.producer, self.broker)
        try:
            await self.store.ping()
        except Transient as error:
            lacking.append(str(error))
        return lacking


async def run(settings: NotifierSettings) -> None:
    """Serve until SIGTERM."""
    async with running(settings) as notifier:
        health = health_routes(live=notifier.live, ready=notifier.ready)
        secret = settings.service_secret.get_secret_value()
        await serve(settings, api=api([*health, *notifier.api.routes()], secret=secret), ops=ops(health))


async def migrate_schema(settings: NotifierSettings) -> list[str]:
    """Bring the notifier's schema up to date; returns what was applied."""
    return await migrate(settings.postgres_dsn.get_secret_value(), schema=SCHEMA, package="notifier")


@asynccontextmanager
async def running(
    settings: NotifierSettings,
    *,
    topic: str = BUDGET_EVENTS.name,
    group_id: str = GROUP,
    schedules: Mapping[Kind, Schedule] = SCHEDULES,
    clock: Clock | None = None,
) -> AsyncIterator[Notifier]:
    """The notifier without its ports. Consuming ends first, then what is being sent gets the time to end."""
    clock = clock or SystemClock()
    seal = Seal(settings.sealing_key.get_secret_value())
    policy = Policy(settings.webhook_allowed_networks)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            await open_pool(settings.postgres_dsn.get_secret_value(), schema=SCHEMA, size=settings.postgres_pool)
        )
        store = Store(pool)
        webhooks = await stack.enter_async_context(
            WebhookSender(
                policy=policy,
                resolve=system_resolver,
                seal=seal,
                clock=clock,
                timeout_s=settings.delivery_timeout_s,
            )
        )
        worker = await stack.enter_async_context(
            Worker(
                store,
                {Kind.EMAIL: _mail_sender(settings, clock), Kind.WEBHOOK: webhooks},
                schedules,
                clock=clock,
                instance=settings.instance,
                pace=Pace(timeout_s=settings.delivery_timeout_s, lease_s=settings.delivery_lease_s),
            )
        )
        producer = await stack.enter_async_context(Producer(settings.kafka_bootstrap, client_id=GROUP))
        broker = make_broker(settings.kafka_bootstrap, client_id=GROUP)
        handler = AlertHandler(store, console_url=settings.console_url, wake=worker.wake)
        subscribe(broker, topic, group_id=group_id, handle=handler, producer=producer)
        await stack.enter_async_context(broker)
        await broker.start()
        routes = Api(store, seal=seal, policy=policy, resolve=system_resolver, clock=clock, wake=worker.wake)
        yield Notifier(store, worker, broker, producer, routes)


def _mail_sender(settings: NotifierSettings, clock: Clock) -> MailSender:
    relay = Relay(
        host=settings.smtp_host,
        port=settings.smtp_port,
        tls=settings.smtp_tls,
        user=settings.smtp_user,
        password=settings.smtp_password,
        context=ssl.create_default_context(cafile=settings.smtp_ca_file),
    )
    return MailSender(
        relay,
        sender=settings.mail_from,
        console_url=settings.console_url,
        clock=clock,
        timeout_s=settings.delivery_timeout_s,
    )
