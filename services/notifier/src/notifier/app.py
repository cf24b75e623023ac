"""Composition root: the only module that knows every part."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx

from farebox import durability
from farebox.clock import Clock, SystemClock
from farebox.http import api, health_routes, ops
from farebox.kafka import Broker, Delivery, Producer, alive, make_broker, subscribe, unready
from farebox.postgres import Pool, open_pool, ping
from farebox.postgres import migrate as migrate_schema
from farebox.process import serve
from farebox.topics import BUDGET_EVENTS
from notifier import retry
from notifier.address import Policy, system_resolver
from notifier.channel import Kind
from notifier.handlers import AlertHandler
from notifier.mail import MailSender, SmtpRelay
from notifier.retry import Schedule
from notifier.routes import Api
from notifier.seal import Seal
from notifier.settings import NotifierSettings
from notifier.store import Store
from notifier.webhook import WebhookSender
from notifier.worker import Pace, Worker

SCHEMA = "notifier"
GROUP = "notifier"
TAKING = Delivery(batch_records_max=200)  # a transaction each: a batch ends well within the handler's time
SCHEDULES: Mapping[Kind, Schedule] = {Kind.EMAIL: retry.MAIL, Kind.WEBHOOK: retry.WEBHOOK}


async def migrate(settings: NotifierSettings) -> list[str]:
    """Bring the notifier's schema up to date; returns what was applied."""
    return await migrate_schema(settings.postgres_dsn.get_secret_value(), schema=SCHEMA, package="notifier")


async def run(settings: NotifierSettings) -> None:
    """Until SIGTERM: consume, deliver, answer. Alive without Kafka and PostgreSQL, ready with both."""
    async with (
        database(settings) as pool,
        delivering(settings, pool) as worker,
        consuming(settings, pool, worker) as kafka,
        durability.watched(pool, schema=SCHEMA) as durable,
    ):

        def live() -> list[str]:
            return alive(*kafka, durable) + worker.problems()

        async def ready() -> list[str]:
            return unready(*kafka) + await ping(pool)

        health = health_routes(live=live, ready=ready)
        served = [*health, *administration(settings, pool, worker).routes()]
        await serve(settings, api=api(served, secret=settings.service_secret.get_secret_value()), ops=ops(health))


@asynccontextmanager
async def database(settings: NotifierSettings) -> AsyncIterator[Pool]:
    """The pool; it connects when it is first used."""
    pool = await open_pool(settings.postgres_dsn.get_secret_value(), schema=SCHEMA, size=settings.postgres_pool)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def delivering(
    settings: NotifierSettings, pool: Pool, *, schedules: Mapping[Kind, Schedule] = SCHEDULES
) -> AsyncIterator[Worker]:
    """The sending half. At its end what is being sent gets the time to end."""
    clock = SystemClock()
    webhooks = WebhookSender(
        policy=Policy(settings.webhook_allowed_networks),
        resolve=system_resolver,
        seal=_seal(settings),
        clock=clock,
        timeout_s=settings.delivery_timeout_s,
        tls=httpx.create_ssl_context(),
    )
    worker = Worker(
        Store(pool),
        {Kind.EMAIL: _mail_sender(settings, clock), Kind.WEBHOOK: webhooks},
        schedules,
        clock=clock,
        instance=settings.instance,
        pace=Pace(timeout_s=settings.delivery_timeout_s, lease_s=settings.delivery_lease_s),
    )
    async with webhooks, worker:
        yield worker


@asynccontextmanager
async def consuming(
    settings: NotifierSettings, pool: Pool, worker: Worker, *, topic: str = BUDGET_EVENTS.name, group_id: str = GROUP
) -> AsyncIterator[tuple[Producer, Broker]]:
    """The taking half: alerts and their deliveries, written down."""
    client_id = f"notifier-{settings.instance}"
    producer = Producer(settings.kafka_bootstrap, client_id=client_id)
    broker = make_broker(settings.kafka_bootstrap, client_id=client_id)
    handler = AlertHandler(Store(pool), console_url=settings.console_url, wake=worker.wake)
    subscribe(broker, topic, group_id=group_id, handle=handler, producer=producer, delivery=TAKING)
    async with producer, broker:
        await broker.start()
        yield producer, broker


def administration(settings: NotifierSettings, pool: Pool, worker: Worker) -> Api:
    """The endpoints under `/api`."""
    return Api(
        Store(pool),
        seal=_seal(settings),
        policy=Policy(settings.webhook_allowed_networks),
        resolve=system_resolver,
        clock=SystemClock(),
        wake=worker.wake,
    )


def _seal(settings: NotifierSettings) -> Seal:
    return Seal(settings.sealing_key.get_secret_value())


def _mail_sender(settings: NotifierSettings, clock: Clock) -> MailSender:
    relay = SmtpRelay(
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
