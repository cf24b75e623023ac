"""Composition root: the only module that knows all the others."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import httpx
import structlog
from starlette.routing import BaseRoute

from farebox import topics
from farebox.clock import SystemClock
from farebox.events import AccountPolicyChanged, Undecodable, decode
from farebox.http import api, health_routes, ops
from farebox.kafka import Broadcast, Producer, Record, alive, unready
from farebox.pricing import Catalogue
from farebox.process import serve
from gateway import metrics
from gateway.admission.reservations import Reservations
from gateway.attempts.attempts import Attempts
from gateway.attempts.publisher import Publisher
from gateway.budget_link.books_clock import BooksClock
from gateway.budget_link.heartbeat import Heartbeat
from gateway.budget_link.questions import Questions
from gateway.budget_link.service import BudgetService
from gateway.budget_link.standing import Standing
from gateway.http import proxy
from gateway.http.model_calls import ModelCalls
from gateway.http.proxy import Proxy
from gateway.http.routes import Front, routes
from gateway.journal.journal import Journal, boot_of
from gateway.policy.policies import Policies
from gateway.policy.prices import Prices
from gateway.relay.dispatch import Dispatch
from gateway.relay.passage import Limits
from gateway.settings import GatewaySettings
from gateway.shares.shares import Shares
from gateway.upstreams import directory
from gateway.upstreams.directory import Dialect, Directory
from gateway.upstreams.transport import AiohttpTransport, Transport

log = structlog.get_logger()

GC_THRESHOLDS = (20_000, 20, 50)
"""A call makes some hundred objects that die with it and almost no cycles: young collections may be rare."""
FLUSH_S = 10.0
"""How long the end of the process waits for Kafka; what it has not then, the journal keeps."""


class Gateway:
    """Everything one process holds, put together but not started. Raises Invalid, JournalLocked, JournalFull."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.clock = BooksClock(SystemClock())
        self.directory: Directory = directory.read(settings.routes)
        self.secret = settings.service_secret.get_secret_value()
        self.shares = Shares(idle_s=settings.share_idle_s)
        self.policies = Policies(fresh_s=settings.policy_fresh_s, stale_s=settings.policy_stale_s)
        self.prices = Prices(Catalogue())
        self.journal = Journal(
            settings.journal,
            segment_bytes=settings.journal_segment_bytes,
            limit_bytes=settings.journal_limit_bytes,
            spent=self.shares.spent,
            boot=boot_of(settings.boot_id_file),
        )
        self.producer = Producer(settings.kafka_bootstrap, client_id=f"gateway-{settings.instance}")
        self.publisher = Publisher(self.producer, self.journal)
        self.budget = BudgetService(str(settings.budget_url), secret=self.secret, clock=SystemClock())
        self.standing = Standing(settings.instance, self.clock)
        self.questions = Questions(
            self.budget, standing=self.standing, shares=self.shares, policies=self.policies, clock=self.clock
        )
        self.heartbeat = Heartbeat(
            self.budget,
            standing=self.standing,
            questions=self.questions,
            shares=self.shares,
            policies=self.policies,
            journal=self.journal,
            clock=self.clock,
        )
        self.reservations = Reservations(
            policies=self.policies,
            shares=self.shares,
            questions=self.questions,
            standing=self.standing,
            prices=self.prices,
            clock=self.clock,
        )
        self.attempts = Attempts(
            shares=self.shares,
            gateway=lambda: self.standing.epoch,
            journal=self.journal,
            publisher=self.publisher,
            prices=self.prices,
            clock=self.clock,
        )

    async def learn(self, records: Sequence[Record]) -> None:
        """Records of both compacted topics: prices, and accounts whose policy has changed."""
        await self.prices.learn([record for record in records if record.topic == topics.PRICE_CATALOGUE.name])
        for record in records:
            if record.topic == topics.ACCOUNT_POLICY.name and record.value is not None:
                self._policy_changed(record)

    def _policy_changed(self, record: Record) -> None:
        try:
            event = decode(headers=record.headers, value=record.value).event
        except Undecodable as error:
            metrics.CATALOGUE_SKIPPED.labels(record.topic, error.reason).inc()
            log.error("policy_record_skipped", offset=record.offset, reason=error.reason)
            return
        if isinstance(event, AccountPolicyChanged):
            revoked = event.status == "revoked"
            now = self.clock.monotonic()
            self.policies.changed(event.account_id, revoked=revoked, revision=event.revision, now=now)


async def run(settings: GatewaySettings) -> None:
    """Until SIGTERM. Alive without Kafka and the budget service, ready with both."""
    gateway = Gateway(settings)
    recovered = gateway.journal.recovered
    metrics.RECOVERED.inc(recovered.without_end)
    log.info(
        "journal_replayed",
        epoch=recovered.epoch,
        windows=len(recovered.spent),
        unpublished=len(recovered.unpublished),
        without_end=recovered.without_end,
        whole=recovered.is_whole,
    )
    listening = Broadcast(
        settings.kafka_bootstrap,
        topics.PRICE_CATALOGUE.name,
        topics.ACCOUNT_POLICY.name,
        client_id=f"gateway-{settings.instance}",
        handle=gateway.learn,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(gateway.journal.close)
        transport = await stack.enter_async_context(AiohttpTransport(connections=settings.upstream_connections))
        stack.push_async_callback(gateway.budget.close)
        forwarding = await stack.enter_async_context(proxy.client())
        await stack.enter_async_context(gateway.producer)
        publishing = await stack.enter_async_context(_running("publisher", gateway.publisher.run()))
        stack.push_async_callback(gateway.publisher.flush, FLUSH_S)
        stack.push_async_callback(gateway.heartbeat.stop)
        beating = await stack.enter_async_context(_running("beat", gateway.heartbeat.run()))
        await stack.enter_async_context(listening)

        def live() -> list[str]:
            ended = [f"{task.get_name()}: its task has ended" for task in (publishing, beating) if task.done()]
            return ended + alive(gateway.producer, listening, gateway.standing)

        async def ready() -> list[str]:
            stale = gateway.prices.unready(gateway.clock.now())
            return unready(listening, gateway.standing) + gateway.journal.problems() + stale

        health = health_routes(live=live, ready=ready)
        inner = api([*health, *_routes(gateway, forwarding)], secret=gateway.secret)
        gc.freeze()  # what is here now stays: no collection needs to look at it again
        gc.set_threshold(*GC_THRESHOLDS)
        endpoints = _model_calls(gateway, transport)
        metrics.UNDER_WAY.set_function(lambda: sum(endpoint.under_way for endpoint in endpoints.values()))
        await serve(settings, api=Front(endpoints, inner), ops=ops(health))


def _model_calls(gateway: Gateway, transport: Transport) -> dict[str, ModelCalls]:
    settings = gateway.settings
    limits = Limits(settings.answer_limit_bytes, settings.drain_s, settings.drain_bytes, settings.believed_tokens)
    dispatch = Dispatch(
        transport=transport,
        attempts=gateway.attempts,
        shares=gateway.shares,
        clock=gateway.clock,
        limits=limits,
    )

    def endpoint(dialect: Dialect) -> ModelCalls:
        return ModelCalls(
            dialect,
            directory=gateway.directory,
            reservations=gateway.reservations,
            dispatch=dispatch,
            policies=gateway.policies,
            clock=gateway.clock,
            body_limit_bytes=settings.body_limit_bytes,
            max_tokens_limit=settings.max_tokens_limit,
        )

    return {"/v1/chat/completions": endpoint("openai"), "/v1/messages": endpoint("anthropic")}


def _routes(gateway: Gateway, forwarding: httpx.AsyncClient) -> Sequence[BaseRoute]:
    settings = gateway.settings
    services = {
        "budget": str(settings.budget_url),
        "metering": str(settings.metering_url),
        "notifier": str(settings.notifier_url),
    }
    return routes(
        directory=gateway.directory,
        reservations=gateway.reservations,
        prices=gateway.prices,
        proxy=Proxy(
            services,
            secret=gateway.secret,
            admin_token=settings.admin_token.get_secret_value(),
            reservations=gateway.reservations,
            clock=gateway.clock,
            client=forwarding,
        ),
    )


@contextlib.asynccontextmanager
async def _running(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """A task for as long as the block lasts."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
