"""`/api` of the notifier: channels, deliveries and the history of alerts. Role platform-admin throughout."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from farebox.auth import Role
from farebox.clock import Clock
from farebox.errors import Conflict, Invalid, NotFound
from farebox.events import Envelope, value_of
from farebox.http import JSON, body, caller
from farebox.ids import new_id
from notifier.address import Policy, Resolver, checked_addresses
from notifier.alert import TEST_TYPE
from notifier.channel import (
    Channel,
    ChannelState,
    Kind,
    checked_event_types,
    checked_recipients,
    checked_url,
)
from notifier.delivery import State
from notifier.sample import sample_alert
from notifier.seal import Seal
from notifier.signature import new_secret
from notifier.store import NewChannel, Store
from notifier.wire import (
    Acknowledgement,
    Asked,
    ChannelAsked,
    ChannelChange,
    RotationAsked,
    TestAsked,
    alert_answer,
    channel_answer,
    delivery_answer,
)

PAGE: Final = 50
PAGE_MAX: Final = 500
SWITCHED_OFF: Final = "switched off by an administrator"

T = TypeVar("T")
AskedT = TypeVar("AskedT", bound=Asked)


class Api:
    """The endpoints. `wake` is called when a test message was committed."""

    def __init__(
        self, store: Store, *, seal: Seal, policy: Policy, resolve: Resolver, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._seal = seal
        self._policy = policy
        self._resolve = resolve
        self._clock = clock
        self._wake = wake

    def routes(self) -> list[BaseRoute]:
        one = "/api/channels/{channel_id}"
        return [
            Route("/api/channels", self.channels, methods=["GET"]),
            Route("/api/channels", self.create_channel, methods=["POST"]),
            Route(one, self.channel, methods=["GET"]),
            Route(one, self.change_channel, methods=["PATCH"]),
            Route(one, self.delete_channel, methods=["DELETE"]),
            Route(f"{one}/test", self.test_channel, methods=["POST"]),
            Route(f"{one}/rotate", self.rotate_secret, methods=["POST"]),
            Route("/api/deliveries", self.deliveries, methods=["GET"]),
            Route("/api/deliveries/{delivery_id}", self.delivery, methods=["GET"]),
            Route("/api/alerts", self.alerts, methods=["GET"]),
            Route("/api/alerts/{event_id}/acknowledge", self.acknowledge, methods=["POST"]),
        ]

    # Channels

    async def create_channel(self, request: Request) -> Response:
        _admin(request)
        asked = await body(request, ChannelAsked)
        if asked.kind is Kind.EMAIL:
            channel = await self._store.add_channel(_new_mail_channel(asked))
            return JSON(channel_answer(channel), status_code=201)
        secret = new_secret()
        channel = await self._store.add_channel(await self._new_webhook(asked, secret))
        return JSON(channel_answer(channel, secret), status_code=201)

    async def channels(self, request: Request) -> Response:
        _admin(request)
        before, limit = _page(request)
        found = await self._store.channels(request.query_params.get("account"), before, limit)
        return _list([channel_answer(channel) for channel in found], "channel_id", limit)

    async def channel(self, request: Request) -> Response:
        _admin(request)
        return JSON(channel_answer(await self._channel(request)))

    async def change_channel(self, request: Request) -> Response:
        _admin(request)
        change = await body(request, ChannelChange)
        changed = await self._changed(await self._channel(request), change)
        channel = _found(await self._store.change_channel(changed), "channel")
        self._wake()  # what was waiting for a disabled channel is due
        return JSON(channel_answer(channel))

    async def delete_channel(self, request: Request) -> Response:
        _admin(request)
        if not await self._store.delete_channel(_id(request, "channel_id")):
            raise NotFound("no such channel")
        return Response(status_code=204)

    async def test_channel(self, request: Request) -> Response:
        """Puts a test message on its way; 202 with its delivery, whose log tells what became of it."""
        _admin(request)
        asked = await _optional(request, TestAsked)
        channel = await self._channel(request)
        if channel.state is not ChannelState.ACTIVE:
            raise Conflict("the channel is disabled: activate it before testing it")
        now = self._clock.now()
        alert = sample_alert(channel, asked.language, now)
        envelope = Envelope(new_id(), "/notifier", now, channel.account, alert)
        delivery_id = await self._store.take_up_test(
            envelope, alert, value_of(alert).decode(), TEST_TYPE, channel.channel_id
        )
        self._wake()
        return JSON({"delivery_id": delivery_id, "event_id": envelope.id}, status_code=202)

    async def rotate_secret(self, request: Request) -> Response:
        _admin(request)
        asked = await _optional(request, RotationAsked)
        channel = await self._channel(request)
        if channel.kind is not Kind.WEBHOOK:
            raise Conflict("only webhooks have a secret")
        secret = new_secret()
        overlap = timedelta(hours=asked.overlap_hours)
        rotated = await self._store.rotate_secret(channel.channel_id, self._seal.close(secret), overlap)
        return JSON(channel_answer(_found(rotated, "channel"), secret))

    # Deliveries and alerts

    async def deliveries(self, request: Request) -> Response:
        _admin(request)
        before, limit = _page(request)
        state = request.query_params.get("state")
        if state is not None and state not in set(State):
            raise Invalid(f"state: must be one of {', '.join(State)}")
        rows = await self._store.deliveries(_query_id(request, "channel"), state, before, limit)
        return _list([delivery_answer(row) for row in rows], "delivery_id", limit)

    async def delivery(self, request: Request) -> Response:
        _admin(request)
        row, attempts = _found(await self._store.delivery(_id(request, "delivery_id")), "delivery")
        return JSON(delivery_answer(row, attempts))

    async def alerts(self, request: Request) -> Response:
        _admin(request)
        before, limit = _page(request)
        rows = await self._store.alerts(request.query_params.get("account"), before, limit)
        return _list([alert_answer(row) for row in rows], "event_id", limit)

    async def acknowledge(self, request: Request) -> Response:
        _admin(request)
        asked = await _optional(request, Acknowledgement)
        row = await self._store.acknowledge(_id(request, "event_id"), asked.by, asked.note)
        return JSON(dict(_found(row, "alert")))

    async def _channel(self, request: Request) -> Channel:
        return _found(await self._store.channel(_id(request, "channel_id")), "channel")

    async def _new_webhook(self, asked: ChannelAsked, secret: str) -> NewChannel:
        if asked.url is None or asked.recipients is not None:
            raise Invalid("url: a webhook needs url and has no recipients")
        url = await self._reachable(asked.url)
        return NewChannel(
            account=asked.account,
            kind=asked.kind,
            name=asked.name or httpx.URL(url).host,
            url=url,
            event_types=None if asked.event_types is None else checked_event_types(asked.event_types),
            sealed=self._seal.close(secret),
        )

    async def _changed(self, channel: Channel, change: ChannelChange) -> Channel:
        given = change.model_fields_set
        foreign = {"url", "event_types"} if channel.kind is Kind.EMAIL else {"recipients"}
        if wrong := sorted(given & foreign):
            raise Invalid([f"{name}: not for a channel of kind {channel.kind}" for name in wrong])
        if change.name is not None:
            channel = replace(channel, name=change.name)
        if change.recipients is not None:
            channel = replace(channel, recipients=checked_recipients(change.recipients))
        if change.url is not None:
            channel = replace(channel, url=await self._reachable(change.url))
        if "event_types" in given:
            types = None if change.event_types is None else checked_event_types(change.event_types)
            channel = replace(channel, event_types=types)
        return channel if change.active is None else _switched(channel, active=change.active)

    async def _reachable(self, url: str) -> str:
        """The URL, if it is one and leads where webhooks may go. Raises Invalid."""
        try:
            parts = httpx.URL(checked_url(url))
        except httpx.InvalidURL:
            raise Invalid("url: is not a URL") from None
        port = parts.port or (443 if parts.scheme == "https" else 80)
        await checked_addresses(parts.scheme, parts.host, port, policy=self._policy, resolve=self._resolve)
        return url


def _new_mail_channel(asked: ChannelAsked) -> NewChannel:
    if asked.recipients is None or asked.url is not None or asked.event_types is not None:
        raise Invalid("recipients: an e-mail channel needs recipients and has neither url nor event_types")
    recipients = checked_recipients(asked.recipients)
    return NewChannel(asked.account, asked.kind, asked.name or recipients[0], recipients)


def _switched(channel: Channel, *, active: bool) -> Channel:
    if active:
        return replace(channel, state=ChannelState.ACTIVE, disabled_reason=None)
    return replace(channel, state=ChannelState.DISABLED, disabled_reason=channel.disabled_reason or SWITCHED_OFF)


def _admin(request: Request) -> None:
    caller(request).require(Role.PLATFORM_ADMIN)


async def _optional(request: Request, model: type[AskedT]) -> AskedT:
    """The body, or the model's defaults where there is none."""
    is_empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    return model() if is_empty else await body(request, model)


def _found(thing: T | None, name: str) -> T:
    if thing is None:
        raise NotFound(f"no such {name}")
    return thing


def _id(request: Request, name: str) -> UUID:
    try:
        return UUID(request.path_params[name])
    except ValueError:
        raise NotFound(f"no such {name.removesuffix('_id')}") from None


def _query_id(request: Request, name: str) -> UUID | None:
    text = request.query_params.get(name)
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise Invalid(f"{name}: must be an id") from None


def _page(request: Request) -> tuple[UUID | None, int]:
    """`cursor` and `limit` of a list."""
    text = request.query_params.get("limit", str(PAGE))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= limit <= PAGE_MAX:
        raise Invalid(f"limit: must be between 1 and {PAGE_MAX}")
    return _query_id(request, "cursor"), limit


def _list(items: Sequence[dict[str, Any]], id_: str, limit: int) -> Response:
    """A page; the next one begins before its last id."""
    cursor = str(items[-1][id_]) if len(items) == limit else None
    return JSON({"items": items, "next_cursor": cursor})
